"""Processes of a site: a small root supervisor, back ends that each run as their own user, and what both agree on.

Nothing is imported here: the supervisor must not load what only a back end needs, and the other way round.
"""
