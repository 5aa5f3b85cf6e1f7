"""The embedded demo model: a tiny CLIP and the script that pretrains it on images it renders itself."""
