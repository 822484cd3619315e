package storage

import (
	"crypto/aes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/y"
	"google.golang.org/protobuf/proto"
)

const (
	// tableExt is how the names of Badger's tables end.
	tableExt = ".sst"
	// tableWindow is how much of a table is read at once. Blocks of 4 KiB one by one would cost a system call each.
	tableWindow = 256 << 10
	// maxTableBytes refuses a length that no table of ours has, before memory is taken for it.
	maxTableBytes = 1 << 30
)

// tableFile reads a table of Badger's without Badger, which panics on a bad one. The file ends with the index, its
// length, a checksum of it, and the length of that; blocks fill the rest.
type tableFile struct {
	f       *os.File
	size    int64
	key     []byte // nil if it is not encrypted
	version uint64 // of the newest commit in it
	index   []byte
	blocks  []tableBlock
}

// tableBlock is where a block lies, and the least key that it may hold (with version).
type tableBlock struct {
	offset, len int64
	first       []byte
}

func (in *inspection) openTable(name string, key []byte) (*tableFile, error) {
	f, err := os.Open(filepath.Join(in.dir, name))
	if err != nil {
		return nil, err
	}
	t := &tableFile{f: f, key: key}
	info, err := f.Stat()
	if err == nil {
		t.size = info.Size()
		err = t.readIndex()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return t, nil
}

// readBack reads the n bytes before *at and moves it there.
func (t *tableFile) readBack(at *int64, n int64) ([]byte, error) {
	if n < 0 || n > *at || n > maxTableBytes {
		return nil, corruptf("the footer runs past the beginning")
	}
	*at -= n
	b := make([]byte, n)
	if _, err := t.f.ReadAt(b, *at); err != nil {
		return nil, err
	}
	return b, nil
}

func (t *tableFile) readIndex() (err error) {
	defer func() {
		if v := recover(); v != nil { // a length that is wrong in an index whose checksum is right
			err = corruptf("the index cannot be read: %v", v)
		}
	}()
	at := t.size
	number := func() (int64, error) {
		b, err := t.readBack(&at, 4)
		if err != nil {
			return 0, err
		}
		return int64(binary.BigEndian.Uint32(b)), nil
	}
	n, err := number()
	if err != nil {
		return err
	}
	sum, err := t.readBack(&at, n)
	if err != nil {
		return err
	}
	if n, err = number(); err != nil {
		return err
	}
	if t.index, err = t.readBack(&at, n); err != nil {
		return err
	}
	if err := verifySum(t.index, sum); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	if t.key != nil {
		if t.index, err = decryptPart(t.index, t.key); err != nil {
			return err
		}
	}
	return t.readBlocks(at)
}

// readBlocks lists the blocks, which must fill the file up to its index.
func (t *tableFile) readBlocks(end int64) error {
	x := fb.GetRootAsTableIndex(t.index, 0)
	t.version = x.MaxVersion()
	at := int64(0)
	for i := range x.OffsetsLength() {
		var o fb.BlockOffset
		if !x.Offsets(&o, i) {
			return corruptf("the index has no block %d", i)
		}
		b := tableBlock{int64(o.Offset()), int64(o.Len()), slices.Clone(o.KeyBytes())}
		if b.offset != at || b.len > end-at {
			return corruptf("block %d is not where the one before ends", i)
		}
		at += b.len
		t.blocks = append(t.blocks, b)
	}
	if at != end || len(t.blocks) == 0 {
		return corruptf("%d bytes belong to no block", end-at)
	}
	return nil
}

// verify reads all blocks and calls bad for each that does not match its checksum.
func (t *tableFile) verify(buf []byte, bad func(tableBlock, error)) error {
	for i := 0; i < len(t.blocks); {
		n, size := i, int64(0)
		for n < len(t.blocks) && (n == i || size+t.blocks[n].len <= tableWindow) {
			size += t.blocks[n].len
			n++
		}
		buf = slices.Grow(buf[:0], int(size))[:size]
		start := t.blocks[i].offset
		if _, err := t.f.ReadAt(buf, start); err != nil {
			return err
		}
		for ; i < n; i++ {
			b := t.blocks[i]
			if _, err := t.contents(buf[b.offset-start:][:b.len]); err != nil {
				bad(b, err)
			}
		}
	}
	return nil
}

// contents checks a block and returns its entries, their offsets, and their number.
func (t *tableFile) contents(raw []byte) ([]byte, error) {
	var err error
	if t.key != nil {
		if raw, err = decryptPart(raw, t.key); err != nil {
			return nil, err
		}
	}
	if len(raw) < 4 {
		return nil, corruptf("a block of %d bytes", len(raw))
	}
	n := int64(binary.BigEndian.Uint32(raw[len(raw)-4:]))
	end := int64(len(raw)) - 4 - n
	if end < 4 {
		return nil, corruptf("the checksum of a block runs past its beginning")
	}
	if err := verifySum(raw[:end], raw[end:end+n]); err != nil {
		return nil, err
	}
	if entries := int64(binary.BigEndian.Uint32(raw[end-4:])); entries*4 > end-4 {
		return nil, corruptf("a block of %d entries in %d bytes", entries, end)
	}
	return raw[:end], nil
}

// verifySum compares bytes with a checksum as Badger writes it.
func verifySum(data, sum []byte) error {
	var want pb.Checksum
	if err := proto.Unmarshal(sum, &want); err != nil {
		return corruptf("the checksum cannot be read")
	}
	if _, ok := pb.Checksum_Algorithm_name[int32(want.Algo)]; !ok {
		return corruptf("the checksum is of an unknown kind")
	}
	if err := y.VerifyChecksum(data, &want); err != nil {
		return corruptf("it does not match its checksum")
	}
	return nil
}

// decryptPart decrypts a block or index; its last bytes are the initial vector.
func decryptPart(data, key []byte) ([]byte, error) {
	if len(data) < aes.BlockSize {
		return nil, corruptf("an encrypted part of %d bytes", len(data))
	}
	at := len(data) - aes.BlockSize
	return y.XORBlockAllocate(data[:at], key, data[at:])
}

// tables looks at all tables: at every block, since Badger ends an iteration silently at a bad one, also that which
// rewrites tables. Blocks are read past the memory maps, so that they do not stay in this process.
func (in *inspection) tables(names map[string][]string) error {
	there := make(map[uint64]string)
	for _, name := range names[tableExt] {
		if id, ok := fileNumber(name); ok {
			there[id] = name
		}
	}
	for id := range in.manifest {
		if there[id] == "" {
			in.missing = true
			in.add(damage{filepath.Join(in.dir, fmt.Sprintf("%06d%s", id, tableExt)), -1, "the manifest names it, and it is missing",
				"go on without it: what it held is lost", in.remakeManifest})
		}
	}
	looks := in.lookAll(there)
	for _, l := range looks {
		in.bytes += l.size
		if l.err != nil && !errors.Is(l.err, ErrDamaged) {
			return l.err
		}
		if _, ok := in.manifest[l.id]; !ok {
			if l.err == nil && len(l.bad) == 0 {
				in.orphans = append(in.orphans, l) // else a half-written one, as a crash leaves it
			}
			continue
		}
		in.version = max(in.version, l.version)
		in.addTable(l)
	}
	return nil
}

// tableLook is what a look at a table has found.
type tableLook struct {
	id      uint64
	name    string
	size    int64
	version uint64
	bad     []tableBlock
	needed  bool // the manifest does not name it, and it holds what nothing else does
	err     error
}

// lookAll looks at tables with all processors.
func (in *inspection) lookAll(there map[uint64]string) []tableLook {
	looks := make([]tableLook, 0, len(there))
	for id, name := range there {
		looks = append(looks, tableLook{id: id, name: name})
	}
	slices.SortFunc(looks, func(a, b tableLook) int { return int(int64(a.id) - int64(b.id)) })
	next := make(chan *tableLook)
	var all sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(looks)) {
		all.Go(func() {
			buf := make([]byte, tableWindow)
			for l := range next {
				in.look(l, buf)
			}
		})
	}
	for i := range looks {
		next <- &looks[i]
	}
	close(next)
	all.Wait()
	return looks
}

func (in *inspection) look(l *tableLook, buf []byte) {
	key, err := in.tableKey(l.id)
	if err != nil {
		l.err = err
		return
	}
	t, err := in.openTable(l.name, key)
	if err != nil {
		l.err = err
		if errors.Is(err, io.EOF) {
			l.err = corruptf("it ends early")
		}
		return
	}
	defer t.f.Close()
	l.size, l.version = t.size, t.version
	l.err = t.verify(buf, func(b tableBlock, _ error) { l.bad = append(l.bad, b) })
}

// tableKey returns the key that a table is encrypted with, nil if it is not.
func (in *inspection) tableKey(id uint64) ([]byte, error) {
	m, ok := in.manifest[id]
	if ok && m.Compression != options.None {
		return nil, corruptf("the manifest calls it compressed")
	}
	if m.KeyID == 0 {
		return nil, nil
	}
	key, ok := in.keys[m.KeyID]
	if !ok {
		return nil, corruptf("its key, number %d, is not in %s", m.KeyID, "KEYREGISTRY")
	}
	return key, nil
}

// addTable notes what is wrong with a table.
func (in *inspection) addTable(l tableLook) {
	d := damage{file: filepath.Join(in.dir, l.name), offset: -1}
	switch {
	case l.err != nil:
		d.text, d.would = l.err.Error(), "go on without it: what it held is lost"
		d.repair = in.remakeManifest
	case len(l.bad) > 0:
		d.offset = l.bad[0].offset
		d.text = fmt.Sprintf("%d blocks do not match their checksums", len(l.bad))
		d.would = "write it anew without these blocks: what they held is lost"
		d.repair = func(k *keeper) error { return in.rewriteTable(k, l) }
	default:
		return
	}
	in.add(d)
}
