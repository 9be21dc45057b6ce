"""The demo: a small console of the machine it runs on, in two back ends under two users.

`appliance.status` reads /proc and shows it; `appliance.notes` keeps notes in its own directory. Neither can touch what
belongs to the other, and both pages say so (`appliance.parts`, `appliance.attempts`).
"""
