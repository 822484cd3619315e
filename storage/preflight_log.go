package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/dgraph-io/badger/v4/y"
)

const (
	// logExt is how the names of the logs end that hold commits which no table holds yet.
	logExt = ".mem"
	// logHeaderLen is the number of the key and the initial vector at the beginning of a log.
	logHeaderLen = 8 + 12
	// maxLogKey is Badger's bound for a key; a greater length is no entry.
	maxLogKey = 1 << 16
	// Bits of an entry's first byte: it is part of a commit, or ends one.
	logInTxn, logEndTxn = 1 << 6, 1 << 7
	// deletedBit says that a key is deleted.
	deletedBit = 1 << 0
)

// logFile is one log in memory: the header, entries back to back, and zeros up to the size that Badger gives it. An entry
// is a header of two bytes and three uvarints (length of key, of value, time of expiry), key, value and CRC-32C.
type logFile struct {
	data []byte
	key  []byte // nil if it is not encrypted
}

// logEntry is where an entry lies.
type logEntry struct {
	start, end int
	meta       byte
	head       int // length of the header
	keyLen     int
}

// logTxn is one complete commit: its entries, the last of which ends it.
type logTxn struct {
	version uint64
	entries []logEntry
}

// entry reads the entry at an offset. ok is false if there is none whose checksum is right.
func (l *logFile) entry(at int) (e logEntry, ok bool) {
	if at+2 > len(l.data) {
		return e, false
	}
	e.start, e.meta = at, l.data[at]
	pos := at + 2
	var lengths [3]uint64
	for i := range lengths {
		v, n := binary.Uvarint(l.data[pos:])
		if n <= 0 {
			return e, false
		}
		lengths[i] = v
		pos += n
	}
	rest := uint64(len(l.data) - pos)
	if lengths[0] == 0 || lengths[0] > maxLogKey || lengths[0]+4 > rest || lengths[1] > rest-4-lengths[0] {
		return e, false
	}
	e.head, e.keyLen = pos-at, int(lengths[0])
	sum := pos + int(lengths[0]+lengths[1])
	e.end = sum + 4
	return e, crc32.Checksum(l.data[at:sum], castagnoli) == binary.BigEndian.Uint32(l.data[sum:])
}

// open returns key and value of an entry in clear.
func (l *logFile) open(e logEntry) (key, value []byte, err error) {
	text := l.data[e.start+e.head : e.end-4]
	if l.key != nil {
		if text, err = y.XORBlockAllocate(text, l.key, l.vector(e.start)); err != nil {
			return nil, nil, err
		}
	}
	return text[:e.keyLen], text[e.keyLen:], nil
}

// vector is the initial vector of an entry.
func (l *logFile) vector(at int) []byte {
	iv := slices.Clone(l.data[8:logHeaderLen])
	return binary.BigEndian.AppendUint32(iv, uint32(at))
}

// next reads the commit at an offset as Badger does. ok is false if there is no complete one; then at is where the
// entries end, and open says that some of them have no end.
func (l *logFile) next(at int) (t logTxn, end int, ok bool) {
	for {
		e, valid := l.entry(at)
		if !valid {
			return t, at, false
		}
		key, value, err := l.open(e)
		if err != nil || len(key) < 8 {
			return t, at, false
		}
		version := y.ParseTs(key)
		switch {
		case e.meta&logInTxn != 0:
			if t.version != 0 && t.version != version {
				return t, at, false
			}
			t.version = version
		case e.meta&logEndTxn != 0:
			if n, err := strconv.ParseUint(string(value), 10, 64); err != nil || n != t.version {
				return t, at, false
			}
			t.entries = append(t.entries, e)
			return t, e.end, true
		case t.version != 0:
			return t, at, false
		default: // an entry by itself
			t.version = version
			t.entries = append(t.entries, e)
			return t, e.end, true
		}
		t.entries = append(t.entries, e)
		at = e.end
	}
}

// read calls fn for every complete commit from the beginning, and returns where the last one and the last entry end.
func (l *logFile) read(fn func(logTxn)) (committed, last int) {
	at := logHeaderLen
	for {
		t, end, ok := l.next(at)
		if !ok {
			return at, end
		}
		fn(t)
		at = end
	}
}

// resume finds the next valid entry at or behind an offset, -1 if there is none.
func (l *logFile) resume(at int) int {
	for ; at < len(l.data); at++ {
		if l.data[at] == 0 && at+1 < len(l.data) && l.data[at+1] == 0 && at+2 < len(l.data) && l.data[at+2] == 0 {
			continue // the key has no length: the zeros at the end are many
		}
		if e, ok := l.entry(at); ok && e.keyLen >= 8 {
			return at
		}
	}
	return -1
}

// zeros reports whether nothing was ever written behind an offset. Pages are compared as wholes: nearly all are empty.
func (l *logFile) zeros(at int) bool {
	var page [4096]byte
	for part := range slices.Chunk(l.data[min(at, len(l.data)):], len(page)) {
		if !bytes.Equal(part, page[:len(part)]) {
			return false
		}
	}
	return true
}

// knowsKey reports whether the header of a log names a key that there is.
func (in *inspection) knowsKey(head []byte) bool {
	id := binary.BigEndian.Uint64(head)
	_, ok := in.keys[id]
	return ok || id == 0
}

// logs looks at the logs of commits. What a killed process leaves is a log that ends anywhere; what a power cut leaves
// besides is a last entry that is torn. Anything valid behind a bad entry would be cut off by Badger.
func (in *inspection) logs(names map[string][]string) error {
	in.killed = len(names[logExt]) > 0
	for _, name := range names[logExt] {
		l, err := in.readLog(name)
		if err != nil {
			return err
		}
		path := filepath.Join(in.dir, name)
		in.bytes += int64(len(l.data))
		if len(l.data) == 0 { // between two steps of making or deleting it; checkMark knows if something is missing
			in.empty = append(in.empty, path)
			continue
		}
		d := damage{file: path, would: "write it anew, and later logs, with every commit up to there, and those behind it that only add",
			repair: func(k *keeper) error { return in.salvageLogs(k, name) }}
		if len(l.data) < logHeaderLen || !in.knowsKey(l.data) {
			d.offset, d.text = 0, "the header is no header of a log"
			in.add(d)
			continue
		}
		if d.offset, d.text = in.logFault(l, path); d.text != "" {
			in.add(d)
		}
	}
	return nil
}

// readLog reads a log into memory that is used for one at a time.
func (in *inspection) readLog(name string) (*logFile, error) {
	f, err := os.Open(filepath.Join(in.dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	in.buf = slices.Grow(in.buf[:0], int(info.Size()))[:info.Size()]
	if _, err := io.ReadFull(f, in.buf); err != nil {
		return nil, err
	}
	l := &logFile{data: in.buf}
	if len(l.data) >= logHeaderLen {
		l.key = in.keys[binary.BigEndian.Uint64(l.data)]
	}
	return l, nil
}

// logFault says what is wrong with a log, and where; nothing if a crash leaves the like.
func (in *inspection) logFault(l *logFile, path string) (offset int64, text string) {
	committed, last := l.read(func(t logTxn) {
		in.version = max(in.version, t.version)
		if in.logsFrom == 0 || t.version < in.logsFrom {
			in.logsFrom = t.version
		}
	})
	if l.zeros(last) && (last < len(l.data) || committed == last) {
		return 0, "" // where a killed process was
	}
	if next := l.resume(last); next >= 0 {
		return int64(last), fmt.Sprintf("an entry is damaged, and a sound one follows at byte %d", next)
	}
	if int64(len(l.data)) < 2*in.opts.MemTableSize {
		// Badger makes it as long as it may become, and cuts it only where commits end.
		return int64(last), "it ends in the middle of a commit"
	}
	in.log.Warn("a log ends in a torn commit, which is dropped", "file", path, "byte", last)
	return 0, ""
}
