"""What happens before a box runs: profiles, simulated plants, training, evaluation and export of models.

Nothing in :mod:`appliance` imports this package; its commands run modules of it as child processes.
"""
