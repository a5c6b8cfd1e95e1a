"""Protocol stories as text: commands, and what the group did on each."""
