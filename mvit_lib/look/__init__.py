"""Pictures of what the networks do. Needs the extra "course"."""
