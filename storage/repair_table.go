package storage

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/pb"
	sstable "github.com/dgraph-io/badger/v4/table" // the tests have a function of that name
	"github.com/dgraph-io/badger/v4/y"
)

// keySpan is a range of keys, without versions; no last means all that follow. If before is set, only what was committed
// before it may be older than what is lost.
type keySpan struct {
	first, last []byte
	before      uint64
}

// rewriteTable writes a table anew without its damaged blocks, and notes which keys were in them.
func (in *inspection) rewriteTable(k *keeper, l tableLook) error {
	path := filepath.Join(in.dir, l.name)
	if err := k.keep(path); err != nil {
		return err
	}
	key, err := in.tableKey(l.id)
	if err != nil {
		return err
	}
	t, err := in.openTable(l.name, key)
	if err != nil {
		return err
	}
	defer t.f.Close()
	o := sstable.Options{TableSize: uint64(t.size), BlockSize: in.opts.BlockSize, BloomFalsePositive: in.opts.BloomFalsePositive,
		ChkMode: options.OnBlockRead, Compression: options.None}
	if key != nil {
		o.DataKey = &pb.DataKey{KeyId: in.manifest[l.id].KeyID, Data: key}
	}
	b := sstable.NewTableBuilder(o)
	defer b.Close()
	for i, block := range t.blocks {
		raw := make([]byte, block.len)
		if _, err := t.f.ReadAt(raw, block.offset); err != nil {
			return err
		}
		data, err := t.contents(raw)
		if err == nil {
			err = eachEntry(data, func(key []byte, v y.ValueStruct) { b.Add(key, v, 0) })
		}
		if err != nil {
			span := keySpan{first: y.ParseKey(block.first)}
			if i+1 < len(t.blocks) {
				span.last = y.ParseKey(t.blocks[i+1].first)
			}
			in.lost = append(in.lost, span)
		}
	}
	if b.Empty() {
		if err := os.Remove(path); err != nil {
			return err
		}
		return in.remakeManifest(k)
	}
	return in.replaceTable(path, l.name, b)
}

// replaceTable puts a new table in place of an old one. Badger wants a free name that it can read a number from.
func (in *inspection) replaceTable(path, name string, b *sstable.Builder) error {
	dir, err := os.MkdirTemp(in.dir, "repair-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	data := b.Finish()
	next := filepath.Join(dir, name)
	if err := replaceFile(next, data); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// eachEntry calls fn with the keys and values of a block whose checksum is right. A block is its entries, their offsets
// and their number; an entry is two lengths, of what its key shares with the first key and of the rest, the rest, and
// the value.
func eachEntry(data []byte, fn func(key []byte, v y.ValueStruct)) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = corruptf("a block cannot be read: %v", v)
		}
	}()
	n := int(binary.BigEndian.Uint32(data[len(data)-4:]))
	end := len(data) - 4 - 4*n
	var base []byte
	for i := range n {
		at, next := int(binary.NativeEndian.Uint32(data[end+4*i:])), end
		if i+1 < n {
			next = int(binary.NativeEndian.Uint32(data[end+4*(i+1):]))
		}
		e := data[at:next]
		shared, own := int(binary.NativeEndian.Uint16(e)), int(binary.NativeEndian.Uint16(e[2:]))
		key := append(append(make([]byte, 0, shared+own), base[:shared]...), e[4:4+own]...)
		if i == 0 {
			base = key
		}
		if len(key) < 8 {
			return fmt.Errorf("%w: a key of %d bytes", ErrDamaged, len(key))
		}
		var v y.ValueStruct
		v.Decode(e[4+own:])
		fn(key, v)
	}
	return nil
}
