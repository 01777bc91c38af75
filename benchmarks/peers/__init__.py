"""What a user would write instead: the scripts that this project is measured against."""
