package store

// Break lets every write fail from now on.
func (db *DB) Break() error { return db.bolt.Close() }
