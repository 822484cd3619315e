package storage

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/klauspost/compress/zstd"
)

// Format 1, of Dachs 0.1.0, has the keys and dictionaries of format 2, but sorts other columns first, stores codes and
// sums row by row instead of in planes, refers to no other column, and packs a chunk as one zstd frame. What differs is
// here and never changes.

// attributes1 are the common columns in the order of format 1.
var attributes1 = []Column{
	Channel, Source, UTMMedium, UTMSource, Device, OS, Browser, OSVersion, BrowserVersion, Language,
	Country, Region, City, Screen, Referrer, UTMCampaign, UTMTerm, UTMContent,
}

// The tables of format 1. The measures are the first ones of today's.
var (
	hitsSchema1 = &schema{Hits, "hits", slices.Concat(
		[]Column{Kind, Name, Path, Hostname, Props, Currency}, attributes1, []Column{Hour, Entry, Previous}), 9}
	visitsSchema1 = &schema{Visits, "visits", slices.Concat(
		[]Column{Entry, Hostname}, attributes1, []Column{Hour, Exit}), 7}
)

// schemaOf1 returns the table of a run, or nil for rollups: they are made anew.
func schemaOf1(t Table) *schema {
	switch t {
	case Hits:
		return hitsSchema1
	case Visits:
		return visitsSchema1
	}
	return nil
}

// format1 moves a store of format 1.
type format1 struct {
	u    *upgrade
	from *badger.Txn
	to   *DB
	zstd *zstd.Decoder
	sums *summer
	// buf and block are used again and again.
	buf   []byte
	block block
}

// moveFormat1 copies records and fingerprints of imports as they are, and writes all tuples anew, a run for each day or
// for each upgradeBatch of it. Rollups are made, and hours leave old days, when the days are closed after the upgrade.
func moveFormat1(u *upgrade, from *badger.DB, to *DB) error {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxChunkBytes))
	if err != nil {
		return fmt.Errorf("make decoder: %w", err)
	}
	defer dec.Close()
	return from.View(func(txn *badger.Txn) error {
		m := &format1{u: u, from: txn, to: to, zstd: dec, sums: newSummer()}
		for _, prefix := range []byte{prefixRecord, prefixImport} {
			if err := copyKeys(txn, to, prefix); err != nil {
				return err
			}
		}
		if err := to.loadSites(); err != nil {
			return err
		}
		refs, err := m.runs()
		if err != nil {
			return err
		}
		if err := m.keepAll(refs); err != nil {
			return err
		}
		return m.move(refs)
	})
}

// runs lists the runs of the sites that exist: what a crash left of a removed one ends here.
func (m *format1) runs() (refs []runRef, err error) {
	it := m.from.NewIterator(badger.IteratorOptions{Prefix: []byte{prefixHeader}})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		ref, err := parseHeaderKey(it.Item().Key())
		if err != nil {
			return nil, corruptf("key %x: %v", it.Item().Key(), err)
		}
		if schemaOf1(ref.table) != nil && m.to.alive(ref.site) {
			refs = append(refs, ref)
		}
	}
	return refs, nil
}

// keepAll makes sites keep what they have for as long as new days are kept by default. Format 1 let no day go, so nobody
// can have meant its oldest days to vanish with an update.
func (m *format1) keepAll(refs []runRef) error {
	oldest := make(map[uint32]Day)
	for _, ref := range refs {
		if day, ok := oldest[ref.site]; !ok || ref.day < day {
			oldest[ref.site] = ref.day
		}
	}
	for _, s := range m.to.Sites() {
		today, keep, _ := m.to.today(s.ID)
		day, ok := oldest[s.ID]
		if !ok || day >= keep.oldest(today) {
			continue
		}
		keep = s.Keep.reach(today, day)
		if err := m.to.changeSite(s.Domain, func(s *Site) error { s.Keep = keep; return nil }); err != nil {
			return fmt.Errorf("keep the days of %s: %w", s.Domain, err)
		}
		m.u.log().Info("a site has days older than are kept by default: it keeps them", "site", s.Domain, "oldest", day.String(), "days", keep.Totals)
	}
	return nil
}

func (m *format1) move(refs []runRef) error {
	m.u.total = len(refs)
	for _, ref := range refs {
		if err := m.read(ref); err != nil {
			return fmt.Errorf("read %s of %s, site %d, run %016x: %w", schemaOf1(ref.table).name, ref.day, ref.site, ref.id, err)
		}
		if m.sums.bytes() >= cmp.Or(m.u.o.batch, upgradeBatch) {
			if err := m.write(); err != nil {
				return err
			}
		}
		m.u.moved(1)
	}
	return m.write()
}

// write writes what was gathered.
func (m *format1) write() error {
	for _, p := range m.sums.partitions() {
		if err := m.to.writeRun(p, m.sums.parts[p]); err != nil {
			return err
		}
	}
	m.sums = newSummer()
	return nil
}

// writeRun writes a run that counts at once.
func (db *DB) writeRun(p partition, rows *sums) error {
	w, err := db.newRunWriter(runRef{p.site, p.table, p.day, 1, rand.Uint64()})
	if err != nil {
		return err
	}
	if err := rows.blocks(w.put); err != nil {
		return err
	}
	head, err := w.finish()
	if err != nil {
		return err
	}
	if len(head.blockRows) == 0 {
		return w.abort() // all came to nothing
	}
	return db.update(func(txn *badger.Txn) error {
		return errors.Join(txn.Set(w.ref.headerKey(), head.append(nil)), txn.Delete(w.ref.runKey(prefixGarbage)))
	})
}

// read gathers the rows of a run.
func (m *format1) read(ref runRef) error {
	s := schemaOf1(ref.table)
	item, err := m.from.Get(ref.headerKey())
	if err != nil {
		return err
	}
	value, err := item.ValueCopy(nil)
	if err != nil {
		return err
	}
	blockRows, inline, err := decodeHeader1(value)
	var parts [][]byte
	if err == nil && len(inline) > 0 {
		parts, err = splitBlock(s, inline)
	}
	for n := 0; err == nil && n < len(blockRows); n++ {
		if err = m.readBlock(s, ref, n, blockRows[n], parts); err == nil {
			m.gather(s, ref)
		}
	}
	return err
}

// readBlock reads one block, out of the header if it has parts.
func (m *format1) readBlock(s *schema, ref runRef, n, rows int, parts [][]byte) error {
	m.block.reset(rows)
	for i, c := range s.columns {
		raw, err := m.raw(ref, n, uint8(c), parts, i)
		if err == nil {
			m.block.dicts[c], m.block.codes[c], err = decodeColumn1(raw, rows, m.block.codes[c])
		}
		if err != nil {
			return fmt.Errorf("column %d: %w", c, err)
		}
	}
	for i := range s.measures {
		raw, err := m.raw(ref, n, measureColumn+uint8(i), parts, len(s.columns)+i)
		if err == nil {
			m.block.sums[i], err = decodeSums1(raw, rows, m.block.sums[i])
		}
		if err != nil {
			return fmt.Errorf("measure %d: %w", i, err)
		}
	}
	return nil
}

// raw returns the decompressed bytes of a column or measure.
func (m *format1) raw(ref runRef, n int, column uint8, parts [][]byte, i int) ([]byte, error) {
	if parts != nil {
		return parts[i], nil
	}
	item, err := m.from.Get(ref.chunkKey(n, column))
	if err != nil {
		return nil, err
	}
	err = item.Value(func(v []byte) error {
		m.buf, err = m.zstd.DecodeAll(v, m.buf[:0])
		return err
	})
	return m.buf, err
}

func (m *format1) gather(s *schema, ref runRef) {
	row := Row{Site: ref.site, Table: ref.table, Day: ref.day}
	for i := range m.block.rows {
		m.block.tuple(s, i, &row.Dims)
		for j := range s.measures {
			row.Sums[j] = m.block.sums[j][i]
		}
		if row.Dims[Kind] == KindEvent {
			row.Sums[PropVisits] = propVisits1(&row)
		}
		m.sums.add(&row)
	}
}

// propVisits1 is what is known of a measure that format 1 did not have: the first of an event in a visit, and the first of
// it with these properties on a day, is also the first with these properties in a visit. What is neither cannot be told.
func propVisits1(r *Row) int64 {
	return min(r.Sums[Count], max(r.Sums[HitVisits], r.Sums[PropVisitors]))
}

// maxRows1 is the most rows of a block, and values of a dictionary.
const maxRows1 = 1 << 15

// decodeHeader1 reads how many rows the blocks have. What follows is all of the only block, or nothing if it is in chunks.
func decodeHeader1(src []byte) (blockRows []int, inline []byte, err error) {
	n, src, err := readUvarint(src)
	if err != nil || n == 0 || n > uint64(len(src)) {
		return nil, nil, corruptf("run of %d blocks", n)
	}
	for range n {
		var rows uint64
		if rows, src, err = readUvarint(src); err != nil || rows == 0 || rows > maxRows1 {
			return nil, nil, corruptf("block of %d rows", rows)
		}
		blockRows = append(blockRows, int(rows))
	}
	if len(src) > 0 && n != 1 {
		return nil, nil, corruptf("inline run of %d blocks", n)
	}
	return blockRows, src, nil
}

// decodeColumn1 reads a dictionary and codes of one byte, or of two little-endian ones.
func decodeColumn1(src []byte, rows int, codes []uint16) (dict []string, _ []uint16, err error) {
	n, src, err := readUvarint(src)
	if err != nil || n == 0 || n > maxRows1 {
		return nil, nil, corruptf("dictionary of %d values", n)
	}
	if dict, src, err = decodeDict(src, int(n)); err != nil {
		return nil, nil, err
	}
	width := 0
	switch {
	case n > 1<<8:
		width = 2
	case n > 1:
		width = 1
	}
	if len(src) != width*rows {
		return nil, nil, corruptf("%d code bytes for %d rows", len(src), rows)
	}
	codes = slices.Grow(codes[:0], rows)[:rows]
	for i := range codes {
		switch width {
		case 0:
			codes[i] = 0
		case 1:
			codes[i] = uint16(src[i])
		case 2:
			codes[i] = binary.LittleEndian.Uint16(src[2*i:])
		}
		if int(codes[i]) >= len(dict) {
			return nil, nil, corruptf("code %d in a dictionary of %d", codes[i], len(dict))
		}
	}
	return dict, codes, nil
}

// decodeSums1 reads a width and signed little-endian numbers of it, or width 0 and a varint that is all of them.
func decodeSums1(src []byte, rows int, sums []int64) ([]int64, error) {
	if len(src) == 0 {
		return nil, corruptf("measure without width")
	}
	width, src := int(src[0]), src[1:]
	sums = slices.Grow(sums[:0], rows)[:rows]
	if width == 0 {
		v, n := binary.Varint(src)
		if n <= 0 || n != len(src) {
			return nil, corruptf("measure without value")
		}
		for i := range sums {
			sums[i] = v
		}
		return sums, nil
	}
	if !slices.Contains([]int{1, 2, 4, 8}, width) || len(src) != width*rows {
		return nil, corruptf("%d bytes of width %d for %d rows", len(src), width, rows)
	}
	for i := range sums {
		switch width {
		case 1:
			sums[i] = int64(int8(src[i]))
		case 2:
			sums[i] = int64(int16(binary.LittleEndian.Uint16(src[2*i:])))
		case 4:
			sums[i] = int64(int32(binary.LittleEndian.Uint32(src[4*i:])))
		case 8:
			sums[i] = int64(binary.LittleEndian.Uint64(src[8*i:]))
		}
	}
	return sums, nil
}
