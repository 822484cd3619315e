package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/y"
	"google.golang.org/protobuf/proto"
)

const (
	// registrySanity is what Badger writes at the beginning of its key registry, behind 16 random bytes, in clear if the
	// store is not encrypted.
	registrySanity = "Hello Badger"
	registryHead   = 16 + len(registrySanity)

	// What a manifest begins with: this, two bytes for the application, and two of Badger's version.
	manifestMagic   = "Bdgr"
	manifestVersion = 8
	manifestHead    = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// registry reads the keys that tables and logs are encrypted with. A wrong key of the store itself is no damage.
func (in *inspection) registry(map[string][]string) error {
	in.keys = make(map[uint64][]byte)
	path := filepath.Join(in.dir, badger.KeyRegistryFileName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a table that names a key says what is missing
	}
	if err != nil {
		return err
	}
	in.bytes += int64(len(data))
	d := damage{file: path, would: "make it anew: the store is not encrypted", repair: in.removing(path)}
	if len(in.opts.EncryptionKey) > 0 {
		d.would, d.repair = "nothing: without its keys the store cannot be read; restore a backup", nil
	}
	if len(data) < registryHead {
		d.offset, d.text = 0, "the header is cut short"
		in.add(d)
		return nil
	}
	sanity := data[16:registryHead]
	if len(in.opts.EncryptionKey) > 0 {
		if sanity, err = y.XORBlockAllocate(sanity, in.opts.EncryptionKey, data[:16]); err != nil {
			return err
		}
	}
	if string(sanity) != registrySanity {
		// Only an encrypted store has keys behind the header.
		if len(in.opts.EncryptionKey) > 0 || len(data) > registryHead {
			return badger.ErrEncryptionKeyMismatch
		}
		d.offset, d.text = 0, "the header is no header of a key registry"
		in.add(d)
		return nil
	}
	for at := registryHead; at < len(data); {
		key, n, err := in.dataKey(data[at:])
		if err != nil {
			d.offset, d.text = int64(at), err.Error()
			in.add(d)
			return nil
		}
		in.keys[key.KeyId] = key.Data
		at += n
	}
	return nil
}

// dataKey reads one key: four bytes of length, four of checksum, and the key as Badger's protocol buffer.
func (in *inspection) dataKey(src []byte) (key *pb.DataKey, n int, err error) {
	if len(src) < 8 {
		return nil, 0, errors.New("a key is cut short")
	}
	length := int64(binary.BigEndian.Uint32(src))
	if length > int64(len(src)-8) {
		return nil, 0, errors.New("a key is cut short")
	}
	text := src[8 : 8+length]
	if crc32.Checksum(text, castagnoli) != binary.BigEndian.Uint32(src[4:]) {
		return nil, 0, errors.New("a key does not match its checksum")
	}
	key = &pb.DataKey{}
	if err := proto.Unmarshal(text, key); err != nil {
		return nil, 0, fmt.Errorf("a key cannot be read: %w", err)
	}
	if len(in.opts.EncryptionKey) > 0 {
		if key.Data, err = y.XORBlockAllocate(key.Data, in.opts.EncryptionKey, key.Iv); err != nil {
			return nil, 0, fmt.Errorf("a key cannot be read: %w", err)
		}
	}
	return key, 8 + int(length), nil
}

// changes reads the manifest, which lists the tables that count.
func (in *inspection) changes(names map[string][]string) error {
	path := filepath.Join(in.dir, badger.ManifestFilename)
	d := damage{file: path, offset: -1, would: "make it anew from the tables that are there", repair: in.remakeManifest}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if len(names[tableExt])+len(names[logExt]) > 0 {
			d.text = "it is missing"
			in.add(d)
		}
		return nil
	}
	if err != nil {
		return err
	}
	in.bytes += int64(len(data))
	end, err := in.replay(data)
	if err != nil {
		d.offset, d.text = int64(end), err.Error()
		in.add(d)
		return nil
	}
	if end < len(data) {
		// A power cut leaves this too. Whether it did harm, the tables tell: one that should be there, or should not.
		in.log.Warn("the manifest ends in an incomplete change, which is dropped", "file", path, "bytes", len(data)-end)
	}
	return nil
}

// replay applies the changes of a manifest and returns where the last complete one ends. The file begins with a magic
// number and two versions; a change is its length, its checksum, and a protocol buffer.
func (in *inspection) replay(data []byte) (end int, err error) {
	in.manifest, in.replaced = make(map[uint64]badger.TableManifest), make(map[uint64]bool)
	if len(data) < manifestHead || string(data[:4]) != manifestMagic {
		return 0, errors.New("the header is no header of a manifest")
	}
	if v := binary.BigEndian.Uint16(data[6:]); v != manifestVersion || binary.BigEndian.Uint16(data[4:]) != in.opts.ExternalMagicVersion {
		return 4, fmt.Errorf("it has version %d, want %d", v, manifestVersion)
	}
	for at := manifestHead; ; {
		if len(data)-at < 8 {
			return at, nil
		}
		length := int64(binary.BigEndian.Uint32(data[at:]))
		if length > int64(len(data)) { // Badger does not take this for a change that is cut short
			return at, errors.New("a change is longer than the file")
		}
		if length > int64(len(data)-at-8) {
			return at, nil
		}
		text := data[at+8:][:length]
		var set pb.ManifestChangeSet
		if crc32.Checksum(text, castagnoli) != binary.BigEndian.Uint32(data[at+4:]) {
			return at, errors.New("a change does not match its checksum")
		}
		if err := proto.Unmarshal(text, &set); err != nil {
			return at, errors.New("a change cannot be read")
		}
		if err := in.apply(&set); err != nil {
			return at, err
		}
		at += 8 + int(length)
	}
}

func (in *inspection) apply(set *pb.ManifestChangeSet) error {
	for _, c := range set.Changes {
		_, there := in.manifest[c.Id]
		switch {
		case c.Op == pb.ManifestChange_DELETE:
			delete(in.manifest, c.Id)
			in.replaced[c.Id] = true
		case c.Op != pb.ManifestChange_CREATE:
			return errors.New("a change is of an unknown kind")
		case there:
			return fmt.Errorf("table %d is made twice", c.Id)
		case int(c.Level) >= in.opts.MaxLevels:
			return fmt.Errorf("table %d has level %d", c.Id, c.Level)
		default:
			in.manifest[c.Id] = badger.TableManifest{Level: uint8(c.Level), KeyID: c.KeyId, Compression: options.CompressionType(c.Compression)}
		}
	}
	return nil
}
