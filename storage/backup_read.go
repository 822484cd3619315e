package storage

import (
	"bytes"
	"fmt"
	"io"
)

// backupKind says what an entry of a backup is.
type backupKind int

const (
	backupRun    backupKind = iota // the header of a run; its chunks follow
	backupChunk                    // a chunk of the run before
	backupRecord                   // any other key
)

// backupReader reads a backup in two steps, since a restore has to know the runs of the last one before it reads the first.
type backupReader struct {
	in        *partReader
	increment bool
	base      [32]byte // sum of the list that an increment builds on
	list      *RunList
	info      BackupInfo
}

// openBackup reads the beginning: the base and the list of runs. The caller closes the reader.
func openBackup(r io.Reader) (*backupReader, error) {
	in, format, err := newPartReader(r)
	if err != nil {
		return nil, err
	}
	b := &backupReader{in: in, list: &RunList{format: format}, info: BackupInfo{Format: format}}
	if err := b.readList(); err != nil {
		in.close()
		return nil, err
	}
	return b, nil
}

func (b *backupReader) close() { b.in.close() }

func (b *backupReader) readList() error {
	var head [33]byte
	if _, err := io.ReadFull(b.in, head[:]); err != nil {
		return b.in.bodyError(err)
	}
	if head[0] > 1 {
		return b.in.damaged("it is neither full nor an increment")
	}
	b.increment, b.base = head[0] == 1, [32]byte(head[1:])
	var key []byte
	for {
		var err error
		if key, err = b.in.field(key, maxBackupKey); err != nil {
			return err
		}
		if len(key) == 0 {
			b.info.Runs = b.list.Len()
			return nil
		}
		if err := b.list.add(key); err != nil {
			return b.in.damaged(err.Error())
		}
	}
}

// each calls fn with all entries, in the order of their keys within each kind, and returns nil only if the backup is right
// to its last byte. Key and value are valid during the call.
func (b *backupReader) each(fn func(kind backupKind, key, value []byte) error) error {
	if err := b.eachRun(fn); err != nil {
		return err
	}
	var last []byte
	err := b.pairs(func(key, value []byte) error {
		if bytes.Compare(last, key) >= 0 || key[0] == prefixHeader || key[0] == prefixChunk || key[0] == prefixGarbage {
			return b.in.damaged("a key is out of place")
		}
		last = append(last[:0], key...)
		b.info.note(key)
		return fn(backupRecord, key, value)
	})
	if err != nil {
		return err
	}
	for _, want := range []int{b.info.Runs, b.info.Written, b.info.Chunks, b.info.Records} {
		if n, err := b.in.uvarint(); err != nil {
			return err
		} else if n != want {
			return b.in.damaged(fmt.Sprintf("it holds %d keys of a kind and says %d", want, n))
		}
	}
	err = b.in.finish()
	b.info.Bytes = b.in.bytes
	return err
}

// eachRun reads the runs with their chunks.
func (b *backupReader) eachRun(fn func(kind backupKind, key, value []byte) error) error {
	last := -1
	err := b.pairs(func(key, value []byte) error {
		at, ok := b.list.find(key)
		if !ok || at <= last {
			return b.in.damaged("a run is out of place")
		}
		last = at
		b.info.Written++
		ref, err := parseHeaderKey(key)
		if err != nil {
			return b.in.damaged(err.Error())
		}
		if err := fn(backupRun, key, value); err != nil {
			return err
		}
		return b.eachChunk(ref, fn)
	})
	if err == nil && !b.increment && b.info.Written != b.info.Runs {
		return b.in.damaged("runs are missing")
	}
	return err
}

func (b *backupReader) eachChunk(ref runRef, fn func(kind backupKind, key, value []byte) error) error {
	prefix := ref.runKey(prefixChunk)
	var last []byte
	return b.pairs(func(key, value []byte) error {
		if !bytes.HasPrefix(key, prefix) || bytes.Compare(last, key) >= 0 {
			return b.in.damaged("a chunk is out of place")
		}
		last = append(last[:0], key...)
		b.info.Chunks++
		return fn(backupChunk, key, value)
	})
}

// pairs reads keys and values up to an empty key.
func (b *backupReader) pairs(fn func(key, value []byte) error) error {
	var key, value []byte
	for {
		var err error
		if key, err = b.in.field(key, maxBackupKey); err != nil {
			return err
		}
		if len(key) == 0 {
			return nil
		}
		if value, err = b.in.field(value, maxBackupValue); err != nil {
			return err
		}
		if err := fn(key, value); err != nil {
			return err
		}
	}
}

// VerifyBackup reads a backup to its end and returns nil only if it is right to the last byte. The list is what a later
// backup may leave out. Errors wrap ErrBackup or ErrVersion, or are those of r.
func VerifyBackup(r io.Reader) (*RunList, BackupInfo, error) {
	b, err := openBackup(r)
	if err != nil {
		return nil, BackupInfo{}, err
	}
	defer b.close()
	err = b.each(func(backupKind, []byte, []byte) error { return nil })
	return b.list, b.info, err
}
