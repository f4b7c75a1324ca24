"""Trainings handed to processes of the command line, beside the server, and watched through what they keep on disk.

handing: is_at_it, loadable, trained
points: swept
"""
