"""Getting files: where they come from, downloads that go on where they stopped, archives unpacked safely."""
