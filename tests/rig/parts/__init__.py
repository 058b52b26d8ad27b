"""The parts of the rig: each module starts and stops one kind of thing."""
