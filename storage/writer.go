package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
)

const (
	// maxQueuedRows bounds the memory of the queue: past it Submit answers ErrOverloaded.
	maxQueuedRows = 1 << 16
	// maxCommitRows and maxCommitBytes bound one commit; see maxTxnBytes.
	maxCommitRows  = 1 << 13
	maxCommitBytes = 256 << 10
	// busyBatches is how many batches in one commit mean that many are on their way, and gatherTime how long the next commit then
	// waits for them: a fifth less CPU time for each hit, and a millisecond more until it is answered.
	busyBatches = 8
	gatherTime  = time.Millisecond
	// logEvery keeps a full disk from filling the log.
	logEvery = 30 * time.Second
)

// Batch is a set of rows that are stored together or not at all. The rows belong to the store until Wait returns.
type Batch struct {
	Rows []Row
	// Revert, if set, is called when the batch will not be stored after Submit had taken it: before Wait
	// returns, and in the reverse order of Submit over all batches that fail together, so that callers can
	// take back what they had derived from it. It must not call Submit.
	Revert func()

	done chan error
}

// size estimates what the batch takes in a transaction.
func (b *Batch) size() int {
	n := 0
	for i := range b.Rows {
		for _, s := range b.Rows[i].Dims {
			n += len(s)
		}
	}
	return n
}

// queue holds the batches that wait for the next commit.
type queue struct {
	wake chan struct{} // capacity 1: there is something to do

	mu      sync.Mutex // guards the following
	batches []*Batch
	rows    int
	failing bool // batches are being reverted: nothing may be derived from their state yet
	closed  bool
}

func (q *queue) push(b *Batch) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return ErrClosed
	case q.failing:
		return ErrUnavailable
	case q.rows+len(b.Rows) > maxQueuedRows:
		return ErrOverloaded
	}
	q.batches = append(q.batches, b)
	q.rows += len(b.Rows)
	q.signal()
	return nil
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// pop takes what fits one commit, in order. closed says that no more will come.
func (q *queue) pop() (batches []*Batch, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	rows, size, n := 0, 0, 0
	for n < len(q.batches) {
		b := q.batches[n]
		rows += len(b.Rows)
		size += b.size()
		if n > 0 && (rows > maxCommitRows || size > maxCommitBytes) {
			rows -= len(b.Rows)
			break
		}
		n++
	}
	batches = q.batches[:n:n]
	q.batches = q.batches[n:]
	q.rows -= rows
	if len(q.batches) > 0 {
		q.signal()
	} else {
		q.batches = nil
	}
	return batches, q.closed
}

// fail takes everything that is queued and refuses more until recovered.
func (q *queue) fail() []*Batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.failing = true
	batches := q.batches
	q.batches, q.rows = nil, 0
	return batches
}

func (q *queue) recovered() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.failing = false
}

func (q *queue) close() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.closed = true
	q.signal()
	return true
}

// Submit queues the batch without waiting. Batches are stored in the order of Submit; when one fails, all
// that were queued behind it fail too. After an error from Submit itself nothing was queued and Revert is not called.
func (db *DB) Submit(b *Batch) error {
	if len(b.Rows) > maxCommitRows {
		return fmt.Errorf("%w: %d in a batch, at most %d", ErrBadRows, len(b.Rows), maxCommitRows)
	}
	for i := range b.Rows {
		if err := b.Rows[i].check(); err != nil {
			return err
		}
	}
	if !db.fresh.room() {
		return ErrOverloaded
	}
	if b.done == nil {
		b.done = make(chan error, 1)
	}
	return db.queue.push(b)
}

// Wait returns once the batch is stored, or why it is not. Call it once for each successful Submit.
func (b *Batch) Wait() error { return <-b.done }

// Append is Submit and Wait.
func (db *DB) Append(rows ...Row) error {
	b := &Batch{Rows: rows}
	if err := db.Submit(b); err != nil {
		return err
	}
	return b.Wait()
}

// write is the only goroutine that commits rows. While one commit runs, the next batches gather.
func (db *DB) write() {
	var lastLog time.Time
	busy := false
	for range db.queue.wake {
		if busy {
			time.Sleep(gatherTime)
		}
		batches, closed := db.queue.pop()
		busy = len(batches) >= busyBatches && !closed
		if len(batches) == 0 {
			if closed {
				return
			}
			continue
		}
		began := time.Now() // not the store's clock, which may stand still or jump
		stored, err := db.commit(batches)
		db.commits.note(time.Since(began), batches, stored)
		for _, b := range batches[:stored] {
			b.done <- nil
		}
		db.failed.Store(err != nil)
		if err != nil {
			if now := db.now(); lastLog.IsZero() || now.Sub(lastLog) > logEvery {
				lastLog = now
				db.log.Error("cannot store hits: they are refused until the store can be written again", "error", err)
			}
			db.fail(batches[stored:], err)
		}
		if closed {
			db.queue.signal() // come back until nothing is left
		}
	}
}

// Health returns nil if rows can be stored. Where the last commit has failed it tries to write.
func (db *DB) Health() error {
	db.queue.mu.Lock()
	closed := db.queue.closed
	db.queue.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if err := db.space.check(); err != nil || !db.failed.Load() {
		return err
	}
	err := db.update(func(txn *badger.Txn) error { return setRecord(txn, recordHealth, "", db.now().UTC(), 0) })
	if err != nil && !errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// fail reverts the batches and all behind them, the youngest first.
func (db *DB) fail(batches []*Batch, err error) {
	batches = append(slices.Clone(batches), db.queue.fail()...)
	for _, b := range slices.Backward(batches) {
		if b.Revert != nil {
			b.Revert()
		}
	}
	db.queue.recovered()
	if !errors.Is(err, ErrUnavailable) {
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	for _, b := range batches {
		b.done <- err
	}
}

// commit stores the rows of all batches in one transaction, a run for each partition, and returns how many
// batches are stored: all of them if there is no error.
func (db *DB) commit(batches []*Batch) (stored int, err error) {
	db.fresh.order.Lock()
	defer db.fresh.order.Unlock()
	return db.commitLocked(batches)
}

func (db *DB) commitLocked(batches []*Batch) (stored int, err error) {
	sums := &db.commitSums // this goroutine's only
	defer sums.reset()
	for _, b := range batches {
		for i := range b.Rows {
			sums.add(&b.Rows[i])
		}
	}
	if len(sums.parts) == 0 {
		return len(batches), nil // nothing to store
	}
	if err := db.space.check(); err != nil {
		return 0, err
	}
	var added []freshSums
	err = db.update(func(txn *badger.Txn) error {
		for _, p := range sums.partitions() {
			if !db.alive(p.site) {
				continue // removed since the hit was counted
			}
			small, err := db.writeSmall(txn, p, sums.parts[p])
			if err != nil {
				return err
			}
			added = append(added, freshSums{p, small, sums.parts[p]})
		}
		return nil
	})
	if errors.Is(err, badger.ErrTxnTooBig) && len(batches) > 1 {
		sums.reset()
		half := len(batches) / 2
		if stored, err = db.commitLocked(batches[:half]); err != nil {
			return stored, err
		}
		rest, err := db.commitLocked(batches[half:])
		return stored + rest, err
	}
	if err != nil {
		return 0, fmt.Errorf("commit rows: %w", err)
	}
	db.merges.noteFresh(db.fresh.add(added))
	return len(batches), nil
}

// writeSmall writes the rows of one partition within a commit, mostly as one run. It lies in its header as a whole: nobody
// reads it but the next start.
func (db *DB) writeSmall(txn *badger.Txn, p partition, rows *sums) (small []smallRun, err error) {
	err = rows.blocks(func(b *block) error {
		ref := runRef{p.site, p.table, p.day, 0, rand.Uint64()}
		h := header{blockRows: []int{b.rows}, inline: joinBlock(rows.s, b, smallBytes)}
		if h.inline == nil {
			if err := db.codec.chunks(rows.s, ref, 0, b, txn.Set); err != nil {
				return err
			}
		}
		small = append(small, smallRun{ref, h.inline == nil})
		return txn.Set(ref.headerKey(), h.append(nil))
	})
	return small, err
}
