"""Files on disk and objects in a bucket: addresses, bounded reads, listings, and the folder that a bulk run fills."""
