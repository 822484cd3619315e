package storage

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"
)

// inlineBytes is the largest run that is kept whole in the value of its header: one key for a commit, and
// columns apart only where a query gains by reading few of them.
const inlineBytes = 8 << 10

// header is the value of a run's header key: how many rows each block has, and the columns themselves if
// the run is small.
type header struct {
	blockRows []int
	inline    []byte // all columns, then all measures, of the only block, each with its length; nil if in chunks
}

// append writes: block count, rows of each block, then the inline columns, if any.
func (h *header) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(h.blockRows)))
	for _, n := range h.blockRows {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	return append(dst, h.inline...)
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
	if len(src) > 0 {
		if n != 1 {
			return header{}, corruptf("inline run of %d blocks", n)
		}
		h.inline = slices.Clone(src)
	}
	return h, nil
}

// inlineBlock encodes a block for header.inline, or returns nil if it is too large for that.
func inlineBlock(s *schema, b *block) []byte {
	dst := make([]byte, 0, inlineBytes)
	var part []byte
	put := func(p []byte) bool {
		dst = binary.AppendUvarint(dst, uint64(len(p)))
		dst = append(dst, p...)
		return len(dst) <= inlineBytes
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

// inlineParts cuts header.inline into its columns and measures.
func inlineParts(s *schema, src []byte) ([][]byte, error) {
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
	s     *schema
	ref   runRef
	head  header
	codec *codec
	txn   *badger.Txn
	parts [][]byte // of an inline run
	buf   []byte
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
		r.parts, err = inlineParts(s, r.head.inline)
	}
	if err != nil {
		return nil, r.wrap(err)
	}
	return r, nil
}

func (r *run) wrap(err error) error {
	return fmt.Errorf("read %s of %s, site %d, run %016x: %w", r.s.name, r.ref.day, r.ref.site, r.ref.id, err)
}

// raw returns the decompressed bytes of a column (or measure, counted from measureColumn) of block n.
// They are valid until the next call.
func (r *run) raw(n int, column uint8) ([]byte, error) {
	if r.parts != nil {
		if column >= measureColumn {
			return r.parts[len(r.s.columns)+int(column-measureColumn)], nil
		}
		return r.parts[slices.Index(r.s.columns, Column(column))], nil
	}
	item, err := r.txn.Get(r.ref.chunkKey(n, column))
	if err != nil {
		return nil, err
	}
	err = item.Value(func(v []byte) error {
		r.buf, err = r.codec.unpack(v, r.buf[:0])
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.buf, nil
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
	raw, err := r.raw(n, uint8(c))
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
	raw, err := r.raw(n, measureColumn+uint8(m))
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
