package storage

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/y"
	"google.golang.org/protobuf/proto"
)

// salvageLogs writes a damaged log anew with every commit up to the damage, and of those behind it, also in later logs, the
// ones that only add. A merge behind it may have taken runs that a lost commit had put in place of others: with both the
// merge and the others, hits would count twice. Without it, what it replaced still counts.
func (in *inspection) salvageLogs(k *keeper, name string) error {
	first, _ := fileNumber(name)
	entries, err := os.ReadDir(in.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		n, ok := fileNumber(e.Name())
		if !ok || filepath.Ext(e.Name()) != logExt || n < first || in.salvaged[e.Name()] {
			continue
		}
		if err := in.salvageLog(k, e.Name(), n > first); err != nil {
			return err
		}
		in.salvaged[e.Name()] = true
	}
	return nil
}

// salvageLog writes one log anew; behind says that the damage lies before it.
func (in *inspection) salvageLog(k *keeper, name string, behind bool) error {
	l, err := in.readLog(name)
	if err != nil {
		return err
	}
	path := filepath.Join(in.dir, name)
	if err := k.keep(path); err != nil {
		return err
	}
	if len(l.data) < logHeaderLen {
		return os.Remove(path)
	}
	in.guessKey(l)
	out := &logFile{data: slices.Clone(l.data[:logHeaderLen]), key: l.key}
	for at := logHeaderLen; at >= 0; {
		t, end, ok := l.next(at)
		if ok {
			if !behind || l.adds(t) {
				if err := out.copy(l, t); err != nil {
					return err
				}
			}
			at = end
			continue
		}
		// The rest of a commit whose beginning is damaged: its entries are valid, and it is not complete.
		behind = true
		at = l.resume(max(end, at+1))
	}
	if len(out.data) == logHeaderLen {
		return os.Remove(path)
	}
	return replaceFile(path, out.data)
}

// adds reports whether a commit deletes and replaces nothing: rows as they were counted, with all their chunks, or records.
func (l *logFile) adds(t logTxn) bool {
	headers, chunks := make(map[runRef]bool), make(map[runRef]bool)
	for _, e := range t.entries {
		if e.meta&logEndTxn != 0 {
			continue
		}
		key, _, err := l.open(e)
		if err != nil || e.meta&deletedBit != 0 {
			return false
		}
		if key = y.ParseKey(key); len(key) == 0 {
			return false
		}
		switch key[0] {
		case prefixHeader:
			ref, err := parseHeaderKey(key)
			if err != nil || ref.level > 0 {
				return false
			}
			headers[ref] = true
		case prefixChunk:
			if len(key) < garbageKeyLen {
				return false
			}
			mark := slices.Clone(key[:garbageKeyLen])
			mark[0] = prefixGarbage
			ref, err := parseGarbageKey(mark)
			if err != nil {
				return false
			}
			chunks[ref] = true
		case prefixGarbage, prefixImport:
			return false
		}
	}
	for ref := range chunks {
		if !headers[ref] {
			return false
		}
	}
	return true
}

// guessKey puts the number of the right key into a log's header: that with which its first commit can be read.
func (in *inspection) guessKey(l *logFile) {
	if in.knowsKey(l.data) {
		return
	}
	ids := append(slices.Sorted(maps.Keys(in.keys)), 0) // 0 for none
	for _, id := range ids {
		l.key = in.keys[id]
		binary.BigEndian.PutUint64(l.data, id)
		if _, _, ok := l.next(logHeaderLen); ok {
			return
		}
	}
}

// copy appends a commit of another log.
func (l *logFile) copy(from *logFile, t logTxn) error {
	for _, e := range t.entries {
		key, value, err := from.open(e)
		if err != nil {
			return err
		}
		start := len(l.data)
		l.data = append(l.data, from.data[e.start:e.start+e.head]...)
		l.data = append(append(l.data, key...), value...)
		if l.key != nil { // where an entry lies is part of how it is encrypted
			text, err := y.XORBlockAllocate(l.data[start+e.head:], l.key, l.vector(start))
			if err != nil {
				return err
			}
			copy(l.data[start+e.head:], text)
		}
		l.data = binary.BigEndian.AppendUint32(l.data, crc32.Checksum(l.data[start:], castagnoli))
	}
	return nil
}

// remakeManifest lists all tables that can be read. Those of an unknown level are put where the newest ones go: versions
// of a key decide there, not the order of tables. Tables that cannot be read are moved away.
func (in *inspection) remakeManifest(k *keeper) error {
	path := filepath.Join(in.dir, badger.ManifestFilename)
	if _, err := os.Stat(path); err == nil {
		if err := k.keep(path); err != nil {
			return err
		}
	}
	there := make(map[uint64]string)
	entries, err := os.ReadDir(in.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if id, ok := fileNumber(e.Name()); ok && filepath.Ext(e.Name()) == tableExt {
			there[id] = e.Name()
		}
	}
	if in.missing {
		in.lostTable()
	}
	set := &pb.ManifestChangeSet{}
	for _, id := range slices.Sorted(maps.Keys(there)) {
		old, known := in.manifest[id]
		keyID, ok := in.readableWith(id, there[id])
		if !ok {
			if err := in.removing(filepath.Join(in.dir, there[id]))(k); err != nil {
				return err
			}
			in.lostTable()
			continue
		}
		if !known && !in.missing && !in.isNeeded(id) && len(in.manifest) > 0 {
			continue // the rest of a compaction: Badger deletes it
		}
		set.Changes = append(set.Changes, &pb.ManifestChange{Id: id, Op: pb.ManifestChange_CREATE, Level: uint32(old.Level),
			KeyId: keyID, EncryptionAlgo: pb.EncryptionAlgo_aes, Compression: uint32(old.Compression)})
	}
	return in.writeManifest(path, set)
}

// lostTable notes that a table is lost of which nobody knows what it held. What is in logs is newer than every table.
func (in *inspection) lostTable() { in.lost = append(in.lost, keySpan{before: in.logsFrom}) }

// readableWith finds the key with which a table can be read, 0 for none. The manifest knows it, if it can be read itself.
func (in *inspection) readableWith(id uint64, name string) (keyID uint64, ok bool) {
	ids := append(slices.Sorted(maps.Keys(in.keys)), 0)
	if old, known := in.manifest[id]; known {
		ids = []uint64{old.KeyID}
	}
	for _, keyID := range ids {
		if key, there := in.keys[keyID]; (there || keyID == 0) && in.readable(name, key) {
			return keyID, true
		}
	}
	return 0, false
}

// readable reports whether any block of a table can be read with a key.
func (in *inspection) readable(name string, key []byte) bool {
	t, err := in.openTable(name, key)
	if err != nil {
		return false
	}
	defer t.f.Close()
	bad := 0
	err = t.verify(nil, func(tableBlock, error) { bad++ })
	return err == nil && bad < len(t.blocks)
}

// isNeeded reports whether a table that the manifest does not name holds what no other does.
func (in *inspection) isNeeded(id uint64) bool {
	return slices.ContainsFunc(in.orphans, func(o tableLook) bool { return o.id == id && o.needed })
}

func (in *inspection) writeManifest(path string, set *pb.ManifestChangeSet) error {
	text, err := proto.Marshal(set)
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	out := append([]byte(manifestMagic), 0, 0, 0, manifestVersion)
	binary.BigEndian.PutUint16(out[4:], in.opts.ExternalMagicVersion)
	out = binary.BigEndian.AppendUint32(out, uint32(len(text)))
	out = binary.BigEndian.AppendUint32(out, crc32.Checksum(text, castagnoli))
	return replaceFile(path, append(out, text...))
}
