package storage

import (
	"path/filepath"
	"time"
)

// verifyEvery is how often tables are read again after the start. What was whole then may go bad later: the system reads
// pages from the disk again that it has dropped. A GB takes half a second of a processor.
const verifyEvery = 6 * time.Hour

// verifyLoop looks at the tables of a store that runs for long.
func (db *DB) verifyLoop() {
	tick := time.NewTicker(verifyEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			db.verify()
		case <-db.stop:
			return
		}
	}
}

// verify looks at all tables. Once one of them is damaged, queries fail: Badger would answer without what it held. Counting
// goes on: it reads no table.
func (db *DB) verify() {
	in := &inspection{dir: filepath.Join(db.dir, badgerDir), opts: db.badger.Opts(), log: db.log}
	if err := in.inspectTables(); err != nil {
		db.log.Error("cannot look at the tables of the store", "error", err)
		return
	}
	if len(in.found) == 0 {
		return
	}
	err := in.found[0].err()
	db.damaged.Store(&err)
	db.log.Error("the store is damaged: questions are not answered, counting goes on", "error", err)
}
