"""Methods held against each other as a job, kept on disk as it goes on: `comparing`."""
