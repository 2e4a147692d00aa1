"""What a learner meets: figures, widgets, exercises, drills, notebooks."""
