"""The back end that shows how the machine is. It reads /proc and /sys, and writes nothing."""
