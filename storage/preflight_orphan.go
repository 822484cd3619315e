package storage

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/y"
)

// checkOrphans looks for tables that a manifest cut short does not name any more, and that Badger would delete. A crash
// leaves tables without a name too: those that a compaction was about to replace or to make, or that were being made of
// a log. They hold nothing that named tables or logs do not.
func (in *inspection) checkOrphans(logs []string) error {
	for i := range in.orphans {
		o := &in.orphans[i]
		if in.replaced[o.id] {
			continue
		}
		only, err := in.onlyIn(o, logs)
		if err != nil {
			return err
		}
		if only > 0 {
			o.needed = true
			in.add(damage{filepath.Join(in.dir, badger.ManifestFilename), -1,
				fmt.Sprintf("it does not name the table %s, which alone holds %d keys", o.name, only),
				"make it anew from the tables that are there", in.remakeManifest})
		}
	}
	return nil
}

// onlyIn counts the keys that a table holds in a newer version than any named table or log.
func (in *inspection) onlyIn(o *tableLook, logs []string) (int, error) {
	newest := make(map[string]uint64)
	err := in.eachOf(o.id, o.name, nil, func(key []byte) {
		name := string(y.ParseKey(key))
		newest[name] = max(newest[name], y.ParseTs(key))
	})
	if err != nil {
		return 0, err
	}
	names := slices.Sorted(maps.Keys(newest))
	found := func(key []byte) {
		if name := string(y.ParseKey(key)); newest[name] <= y.ParseTs(key) {
			delete(newest, name)
		}
	}
	for id := range in.manifest {
		if len(newest) == 0 {
			break
		}
		if err := in.eachOf(id, fmt.Sprintf("%06d%s", id, tableExt), names, found); err != nil {
			return 0, err
		}
	}
	for _, name := range logs {
		l, err := in.readLog(name)
		if err != nil {
			return 0, err
		}
		if len(l.data) < logHeaderLen {
			continue
		}
		l.read(func(t logTxn) {
			for _, e := range t.entries {
				if key, _, err := l.open(e); err == nil && len(key) > 8 {
					found(key)
				}
			}
		})
	}
	return len(newest), nil
}

// eachOf calls fn with the keys in a table's sound blocks; only in those that may hold one of some sorted names, if there
// are such. What is wrong with the table is noted already.
func (in *inspection) eachOf(id uint64, name string, wanted []string, fn func(key []byte)) error {
	key, err := in.tableKey(id)
	if err != nil {
		return nil
	}
	t, err := in.openTable(name, key)
	if err != nil {
		return nil
	}
	defer t.f.Close()
	for i, b := range t.blocks {
		if wanted != nil && !t.mayHold(i, wanted) {
			continue
		}
		raw := make([]byte, b.len)
		if _, err := t.f.ReadAt(raw, b.offset); err != nil {
			return err
		}
		data, err := t.contents(raw)
		if err == nil {
			err = eachEntry(data, func(key []byte, _ y.ValueStruct) { fn(key) })
		}
		if err != nil && !errors.Is(err, ErrDamaged) {
			return err
		}
	}
	return nil
}

// mayHold reports whether one of some sorted names may lie in a block.
func (t *tableFile) mayHold(i int, names []string) bool {
	at, _ := slices.BinarySearch(names, string(y.ParseKey(t.blocks[i].first)))
	if at == len(names) {
		return false
	}
	return i+1 == len(t.blocks) || names[at] <= string(y.ParseKey(t.blocks[i+1].first))
}
