package storage

import (
	"encoding/binary"
	"errors"
)

// All keys of the store are made in this file; FORMAT.md describes them byte by byte. Integers are big-endian,
// so that keys sort by site, table and day, and a query reads neighbours.
const (
	prefixHeader  = 'h' // run headers: what exists
	prefixChunk   = 'c' // columns of runs
	prefixGarbage = 'g' // runs that have chunks and no header: the chunks are to be deleted
	prefixImport  = 'i' // fingerprints of finished imports
	prefixRecord  = 'r' // small records: sites, owner, tokens, logins
	prefixFiller  = 'f' // one key with bytes that mean nothing; see purge
)

// runRef names a run: one sorted set of tuples of one table on one day of one site.
type runRef struct {
	site  uint32
	table Table
	day   Day
	level uint8  // how many merges lie behind it; part of the header's key only
	id    uint64 // random, so that keys tell nothing about the order of commits
}

// partition is the unit of merging: one site, table and day.
type partition struct {
	site  uint32
	table Table
	day   Day
}

func (r runRef) partition() partition { return partition{r.site, r.table, r.day} }

// daySign makes days before 1970 sort before later ones.
const daySign = 1 << 31

func appendPartition(key []byte, site uint32, table Table, day Day) []byte {
	key = binary.BigEndian.AppendUint32(key, site)
	key = append(key, byte(table))
	return binary.BigEndian.AppendUint32(key, uint32(day)^daySign)
}

// headerKey is 'h' site(4) table(1) day(4) level(1) id(8).
func (r runRef) headerKey() []byte {
	key := appendPartition([]byte{prefixHeader}, r.site, r.table, r.day)
	key = append(key, r.level)
	return binary.BigEndian.AppendUint64(key, r.id)
}

const (
	headerKeyLen = 1 + 4 + 1 + 4 + 1 + 8
	levelByte    = 1 + 4 + 1 + 4 // of a header's key
)

var errKey = errors.New("key has an unknown form")

func parseHeaderKey(key []byte) (runRef, error) {
	if len(key) != headerKeyLen || key[0] != prefixHeader {
		return runRef{}, errKey
	}
	return runRef{
		site:  binary.BigEndian.Uint32(key[1:]),
		table: Table(key[5]),
		day:   Day(binary.BigEndian.Uint32(key[6:]) ^ daySign),
		level: key[10],
		id:    binary.BigEndian.Uint64(key[11:]),
	}, nil
}

// tableHeaders is the prefix of all headers of one table of a site; dayHeaders that of one day.
func tableHeaders(site uint32, table Table) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{prefixHeader}, site), byte(table))
}

func dayHeaders(p partition) []byte {
	return appendPartition([]byte{prefixHeader}, p.site, p.table, p.day)
}

func siteKeys(prefix byte, site uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefix}, site)
}

// runKey is prefix site(4) table(1) day(4) id(8): the garbage mark of a run, and the prefix of its chunks.
func (r runRef) runKey(prefix byte) []byte {
	key := appendPartition([]byte{prefix}, r.site, r.table, r.day)
	return binary.BigEndian.AppendUint64(key, r.id)
}

const garbageKeyLen = 1 + 4 + 1 + 4 + 8

func parseGarbageKey(key []byte) (runRef, error) {
	if len(key) != garbageKeyLen || key[0] != prefixGarbage {
		return runRef{}, errKey
	}
	return runRef{
		site:  binary.BigEndian.Uint32(key[1:]),
		table: Table(key[5]),
		day:   Day(binary.BigEndian.Uint32(key[6:]) ^ daySign),
		id:    binary.BigEndian.Uint64(key[10:]),
	}, nil
}

// measureColumn is the first column number in chunk keys that means a measure.
const measureColumn = 128

// chunkKey is 'c' site(4) table(1) day(4) id(8) block(4) column(1).
func (r runRef) chunkKey(block int, column uint8) []byte {
	key := binary.BigEndian.AppendUint32(r.runKey(prefixChunk), uint32(block))
	return append(key, column)
}

// importKey is 'i' site(4) fingerprint.
func importKey(site uint32, f Fingerprint) []byte {
	key := siteKeys(prefixImport, site)
	key = binary.BigEndian.AppendUint64(key, uint64(f.Bytes))
	key = binary.BigEndian.AppendUint64(key, uint64(f.Lines))
	key = binary.BigEndian.AppendUint32(key, uint32(f.First)^daySign)
	key = binary.BigEndian.AppendUint32(key, uint32(f.Last)^daySign)
	return binary.BigEndian.AppendUint16(key, f.Checksum)
}

// parseImportKey returns the days of an import.
func parseImportKey(key []byte) (first, last Day, err error) {
	if len(key) != 1+4+8+8+4+4+2 || key[0] != prefixImport {
		return 0, 0, errKey
	}
	return Day(binary.BigEndian.Uint32(key[21:]) ^ daySign), Day(binary.BigEndian.Uint32(key[25:]) ^ daySign), nil
}

// recordKey is 'r' kind '/' name.
func recordKey(kind, name string) []byte {
	return append([]byte{prefixRecord}, kind+"/"+name...)
}
