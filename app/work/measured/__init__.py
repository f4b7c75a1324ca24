"""What is measured of a run after it was kept, as jobs: questions (tasks), speed. It is kept with the run where whoever
asks may change that. No screen in here."""
