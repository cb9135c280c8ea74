"""What a partition holds: identification by libblkid, and how each file system is mounted without being changed."""
