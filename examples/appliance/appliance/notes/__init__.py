"""The back end that keeps notes, in a directory that no other user of the machine can enter."""
