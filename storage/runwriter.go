package storage

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// errStopped ends a merge early when the store is being closed.
var errStopped = errors.New("stopped")

// runWriter writes the chunks of a run that does not count yet.
type runWriter struct {
	db      *DB
	s       *schema
	ref     runRef
	builder *builder
	roller  *roller // nil unless it is to see every row
	apart   bool    // a small run goes to a chunk, not to its header: many headers are stored at once
	head    header
	held    *block // the last one, which may become all of a small run
	pending []badgerEntry
	size    int
}

type badgerEntry struct{ key, value []byte }

// newRunWriter marks the run as garbage until finish's caller stores its header and removes the mark.
func (db *DB) newRunWriter(ref runRef) (*runWriter, error) {
	s, err := schemaOf(ref.table)
	if err != nil {
		return nil, err
	}
	if err := db.space.check(); err != nil {
		return nil, err
	}
	err = db.update(func(txn *badger.Txn) error { return txn.Set(ref.runKey(prefixGarbage), nil) })
	if err != nil {
		return nil, fmt.Errorf("begin run: %w", err)
	}
	return &runWriter{db: db, s: s, ref: ref, builder: newBuilder(s)}, nil
}

// add appends a tuple, which must be greater than the one before.
func (w *runWriter) add(dims *[columns]string, sums *[maxMeasures]int64) error {
	if w.builder.full() {
		select {
		case <-w.db.stop:
			return errStopped
		default:
		}
		if err := w.put(w.builder.finish()); err != nil {
			return err
		}
	}
	w.builder.add(dims, sums)
	return nil
}

// put appends a block of tuples, which must be greater than those before.
func (w *runWriter) put(b *block) error {
	last := w.held
	w.held = b
	if last == nil {
		return nil
	}
	return w.flush(last)
}

// flush writes a block in transactions of bounded size.
func (w *runWriter) flush(b *block) error {
	n := len(w.head.blockRows)
	w.head.blockRows = append(w.head.blockRows, b.rows)
	err := w.db.codec.chunks(w.s, w.ref, n, b, func(key, value []byte) error {
		if w.size+len(value) > maxTxnBytes {
			if err := w.store(); err != nil {
				return err
			}
		}
		w.pending = append(w.pending, badgerEntry{key, value})
		w.size += len(key) + len(value)
		return nil
	})
	if err != nil {
		return err
	}
	return w.store()
}

func (w *runWriter) store() error {
	if err := w.db.space.check(); err != nil {
		return err
	}
	err := w.db.update(func(txn *badger.Txn) error {
		for _, e := range w.pending {
			if err := txn.Set(e.key, e.value); err != nil {
				return err
			}
		}
		return nil
	})
	w.pending, w.size = w.pending[:0], 0
	if err != nil {
		return fmt.Errorf("write run: %w", err)
	}
	return nil
}

// finish returns the header that makes the run count. It has no blocks if no tuple was added.
func (w *runWriter) finish() (header, error) {
	if w.builder.b.rows > 0 {
		if err := w.put(w.builder.finish()); err != nil {
			return w.head, err
		}
	}
	b := w.held
	if b == nil {
		return w.head, nil
	}
	if len(w.head.blockRows) > 0 {
		err := w.flush(b)
		return w.head, err
	}
	w.head.blockRows = []int{b.rows}
	if w.ref.level < closedLevel && !w.apart {
		if w.head.inline = joinBlock(w.s, b, inlineBytes); w.head.inline != nil {
			return w.head, nil
		}
	} else if joined := joinBlock(w.s, b, w.s.whole()); joined != nil {
		w.head.whole = true
		packed := w.db.codec.pack(w.db.codec.tidy, joined, 0, b.rows)
		w.pending = append(w.pending, badgerEntry{w.ref.chunkKey(0, wholeColumn), packed})
		return w.head, w.store()
	}
	w.head.blockRows = nil
	err := w.flush(b)
	return w.head, err
}

// abort deletes what was written.
func (w *runWriter) abort() error { return w.db.dropChunks(w.ref) }

// dropChunks deletes the chunks of a run without header, then its garbage mark.
func (db *DB) dropChunks(ref runRef) error {
	if err := db.deletePrefix(ref.runKey(prefixChunk)); err != nil {
		return fmt.Errorf("delete chunks: %w", err)
	}
	return db.update(func(txn *badger.Txn) error { return txn.Delete(ref.runKey(prefixGarbage)) })
}
