package storage

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
)

// RunList names all runs of a store at one moment, by the keys of their headers. Runs never change and their numbers are
// random, so the list tells a later backup what it may leave out.
type RunList struct {
	format int
	width  int    // bytes of a key: all have the same length
	keys   []byte // one behind the other, ascending
}

var errRunList = errors.New("list of runs has an unknown form")

// Len returns the number of runs.
func (l *RunList) Len() int {
	if l == nil || l.width == 0 {
		return 0
	}
	return len(l.keys) / l.width
}

func (l *RunList) at(i int) []byte { return l.keys[i*l.width:][:l.width] }

// add appends a key, which must be greater than the one before.
func (l *RunList) add(key []byte) error {
	if l.width == 0 {
		l.width = len(key)
	}
	if len(key) != l.width || len(key) < 2 || key[0] != prefixHeader {
		return errRunList
	}
	if n := l.Len(); n > 0 && bytes.Compare(l.at(n-1), key) >= 0 {
		return errRunList
	}
	l.keys = append(l.keys, key...)
	return nil
}

// find returns the place of a key in the list.
func (l *RunList) find(key []byte) (int, bool) {
	return sort.Find(l.Len(), func(i int) int { return bytes.Compare(key, l.at(i)) })
}

// sum is what an increment knows its base by.
func (l *RunList) sum() [sha256.Size]byte { return sha256.Sum256(l.keys) }

// AppendBinary appends the list to b in the form that ParseRunList reads.
func (l *RunList) AppendBinary(b []byte) ([]byte, error) {
	b = binary.AppendUvarint(b, uint64(l.format))
	b = binary.AppendUvarint(b, uint64(l.width))
	return append(b, l.keys...), nil
}

// ParseRunList reads what AppendBinary has written.
func ParseRunList(b []byte) (*RunList, error) {
	format, b, err := readUvarint(b)
	if err != nil {
		return nil, fmt.Errorf("read base: %w", errRunList)
	}
	width, b, err := readUvarint(b)
	if err != nil || width > uint64(maxBackupKey) || width == 0 && len(b) > 0 || width > 0 && len(b)%int(width) != 0 {
		return nil, fmt.Errorf("read base: %w", errRunList)
	}
	l := &RunList{format: int(format)}
	for ; len(b) > 0; b = b[width:] {
		if err := l.add(b[:width]); err != nil {
			return nil, fmt.Errorf("read base: %w", err)
		}
	}
	return l, nil
}
