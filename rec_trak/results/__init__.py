"""What a run leaves behind: tables, rankings, figures and how they are written. Not here: computing what they show."""
