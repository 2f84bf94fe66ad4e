"""Files: arrays, new files that replace old ones whole, and what damage looks like."""
