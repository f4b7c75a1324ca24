"""What is measured of the run in view when somebody asks, and kept with it: questions (tasks), speed."""
