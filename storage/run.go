package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"
)

const (
	// inlineBytes is the largest run of a merge that is kept in the value of its header: one key for a run.
	inlineBytes = 8 << 10
	// wholeBytes is the largest closed run whose columns are packed together in one chunk: few keys for small sites. It is
	// not in the header, so that headers of many days are read fast. Larger ones gain by reading few columns.
	wholeBytes = 16 << 10
	// wholeRollupBytes is the same for rollups, of which a report reads nearly everything.
	wholeRollupBytes = 128 << 10
	// wholeColumn is the number in the key of that chunk.
	wholeColumn = 255
)

// whole is the size up to which a closed run is packed together.
func (s *schema) whole() int {
	if s.table != s.table.base() {
		return wholeRollupBytes
	}
	return wholeBytes
}

// header is the value of a run's header key: how many rows each block has, and where the columns are.
type header struct {
	blockRows []int
	inline    []byte // all columns, then all measures, of the only block, each with its length; nil if in chunks
	whole     bool   // the same, in one chunk
}

// wholeMark is what follows the numbers of rows if the run is in one chunk. No column has that length.
const wholeMark = 0

// append writes: block count, rows of each block, then the inline columns or wholeMark, if any.
func (h *header) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(h.blockRows)))
	for _, n := range h.blockRows {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	if h.whole {
		return append(dst, wholeMark)
	}
	return append(dst, h.inline...)
}

// chunks is how many chunks a run with this header has.
func (h *header) chunks(s *schema) int {
	switch {
	case h.inline != nil:
		return 0
	case h.whole:
		return 1
	}
	return len(h.blockRows) * (len(s.columns) + s.measures)
}

func decodeHeader(src []byte) (header, error) {
	n, src, err := readUvarint(src)
	if err != nil || n == 0 || n > uint64(len(src)) {
		return header{}, corruptf("run of %d blocks", n)
	}
	h := header{blockRows: make([]int, n)}
	for i := range h.blockRows {
		var rows uint64
		if rows, src, err = readUvarint(src); err != nil || rows == 0 || rows > blockRows {
			return header{}, corruptf("block of %d rows", rows)
		}
		h.blockRows[i] = int(rows)
	}
	if len(src) == 0 {
		return h, nil
	}
	if n != 1 {
		return header{}, corruptf("inline run of %d blocks", n)
	}
	if h.whole = src[0] == wholeMark; !h.whole {
		h.inline = slices.Clone(src)
	} else if len(src) > 1 {
		return header{}, corruptf("%d bytes too many", len(src)-1)
	}
	return h, nil
}

// joinBlock puts all columns and measures of a block together, or returns nil if that is more than most bytes.
func joinBlock(s *schema, b *block, most int) []byte {
	var dst, part []byte
	put := func(p []byte) bool {
		dst = binary.AppendUvarint(dst, uint64(len(p)))
		dst = append(dst, p...)
		return len(dst) <= most
	}
	for _, c := range s.columns {
		part = appendColumn(part[:0], b.dicts[c], b.codes[c], b.baseOf(s, c))
		if !put(part) {
			return nil
		}
	}
	for m := range s.measures {
		part = appendSums(part[:0], b.sums[m])
		if !put(part) {
			return nil
		}
	}
	return dst
}

// splitBlock is the inverse of joinBlock: it cuts the bytes into columns and measures.
func splitBlock(s *schema, src []byte) ([][]byte, error) {
	parts := make([][]byte, 0, len(s.columns)+s.measures)
	for len(src) > 0 {
		n, rest, err := readUvarint(src)
		if err != nil || n > uint64(len(rest)) {
			return nil, corruptf("inline column runs past the end")
		}
		parts = append(parts, rest[:n])
		src = rest[n:]
	}
	if len(parts) != len(s.columns)+s.measures {
		return nil, corruptf("inline run has %d columns, want %d", len(parts), len(s.columns)+s.measures)
	}
	return parts, nil
}

// run reads one run within a transaction.
type run struct {
	s      *schema
	ref    runRef
	head   header
	codec  *codec
	txn    *badger.Txn
	parts  [][]byte // of a run whose columns are together
	memory *frozen  // in place of all that, if it is not on the disk yet
	buf    []byte
}

// openRun reads the header of a run.
func openRun(c *codec, txn *badger.Txn, item *badger.Item) (*run, error) {
	ref, err := parseHeaderKey(item.Key())
	if err != nil {
		return nil, err
	}
	s, err := schemaOf(ref.table)
	if err != nil {
		return nil, err
	}
	r := &run{s: s, ref: ref, codec: c, txn: txn}
	err = item.Value(func(v []byte) error {
		r.head, err = decodeHeader(v)
		return err
	})
	if err == nil && r.head.inline != nil {
		r.parts, err = splitBlock(s, r.head.inline)
	}
	if err != nil {
		return nil, r.wrap(err)
	}
	return r, nil
}

func (r *run) wrap(err error) error {
	if errors.Is(err, ErrDamaged) {
		err = fmt.Errorf("%w: %s", err, remedy)
	}
	return fmt.Errorf("read %s of %s, site %d, run %016x: %w", r.s.name, r.ref.day, r.ref.site, r.ref.id, err)
}

// raw returns the decompressed bytes of a column (or measure, counted from measureColumn) of block n.
// They are in the memory of buf, or of the run.
func (r *run) raw(n int, column uint8, buf *[]byte) ([]byte, error) {
	if r.head.whole && r.parts == nil {
		joined, err := r.chunk(0, wholeColumn, nil)
		if err != nil {
			return nil, err
		}
		if r.parts, err = splitBlock(r.s, joined); err != nil {
			return nil, err
		}
	}
	if r.parts != nil {
		if column >= measureColumn {
			return r.parts[len(r.s.columns)+int(column-measureColumn)], nil
		}
		return r.parts[slices.Index(r.s.columns, Column(column))], nil
	}
	raw, err := r.chunk(n, column, (*buf)[:0])
	if err == nil {
		*buf = raw
	}
	return raw, err
}

// chunk appends the decompressed bytes of a chunk to dst.
func (r *run) chunk(n int, column uint8, dst []byte) (_ []byte, err error) {
	defer func() {
		if v := recover(); v != nil { // Badger's way with a block that went bad after the start
			err = corruptf("column %d of block %d cannot be read: %v", column, n, v)
		}
	}()
	item, err := r.txn.Get(r.ref.chunkKey(n, column))
	if errors.Is(err, badger.ErrKeyNotFound) { // also how Badger speaks of a damaged block
		return nil, corruptf("column %d of block %d is missing", column, n)
	}
	if err != nil {
		return nil, err
	}
	err = item.Value(func(v []byte) error {
		dst, err = r.codec.unpack(v, dst)
		return err
	})
	return dst, err
}

// loadColumn reads one column of block n into b, unless it is there.
func (r *run) loadColumn(n int, b *block, c Column) error {
	if b.dicts[c] != nil {
		return nil
	}
	if to, ok := r.s.relativeTo(c); ok {
		if err := r.loadColumn(n, b, to); err != nil {
			return err
		}
	}
	raw, err := r.raw(n, uint8(c), &r.buf)
	if err == nil {
		b.dicts[c], b.codes[c], err = decodeColumn(raw, b.rows, b.codes[c], b.baseOf(r.s, c))
	}
	if err != nil {
		return r.wrap(err)
	}
	return nil
}

// loadMeasure reads one measure of block n into b, unless it is there.
func (r *run) loadMeasure(n int, b *block, m Measure) error {
	if b.summed[m] {
		return nil
	}
	raw, err := r.raw(n, measureColumn+uint8(m), &r.buf)
	if err == nil {
		b.sums[m], err = decodeSums(raw, b.rows, b.sums[m])
	}
	if err != nil {
		return r.wrap(err)
	}
	b.summed[m] = true
	return nil
}

// load reads all of block n into b.
func (r *run) load(n int, b *block) error {
	b.reset(r.head.blockRows[n])
	for _, c := range r.s.columns {
		if err := r.loadColumn(n, b, c); err != nil {
			return err
		}
	}
	for m := range r.s.measures {
		if err := r.loadMeasure(n, b, Measure(m)); err != nil {
			return err
		}
	}
	return nil
}
