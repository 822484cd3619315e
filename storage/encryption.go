package storage

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"
)

const (
	// KeyBytes is the length of an encryption key: AES-256.
	KeyBytes = 32
	// rotateEvery is how often Badger makes a new key for the data that it writes from then on. The store's key encrypts
	// those keys and is never replaced by them. A month keeps the data under one key far below what AES in counter mode
	// bears, and the registry of keys, which is read at each start, at a few entries.
	rotateEvery = 30 * 24 * time.Hour
	// encryptedCache is what Badger needs in memory to not decrypt blocks again and again. The one for indexes holds
	// those of some 1.5 GB of tables.
	encryptedCache = 16 << 20
)

var (
	// ErrKeyMissing says that the store is encrypted and no key was given.
	ErrKeyMissing = errors.New("store is encrypted")
	// ErrKeyWrong says that the key is not that of the store.
	ErrKeyWrong = errors.New("store is encrypted with another key")
	// ErrNotEncrypted says that a key was given for a store that is not encrypted.
	ErrNotEncrypted = errors.New("store is not encrypted")
)

// withEncryption sets what an encrypted store needs.
func withEncryption(o badger.Options, key []byte) badger.Options {
	if len(key) == 0 {
		return o
	}
	return o.WithEncryptionKey(key).
		WithEncryptionKeyRotationDuration(rotateEvery).
		WithBlockCacheSize(encryptedCache).
		WithIndexCacheSize(encryptedCache)
}

// Encrypted reports whether the store is encrypted on the disk.
func (db *DB) Encrypted() bool { return db.encrypted }

func checkKeyLength(key []byte) error {
	if len(key) != 0 && len(key) != KeyBytes {
		return fmt.Errorf("encryption key has %d bytes, want %d", len(key), KeyBytes)
	}
	return nil
}

// checkKey compares the key with Badger's registry of keys before Badger opens anything: it would tell none of the cases from
// another, and has written to the directory by then. A new store takes any key.
func checkKey(dir string, key []byte) error {
	f, err := os.Open(filepath.Join(dir, badger.KeyRegistryFileName))
	if errors.Is(err, fs.ErrNotExist) {
		return checkNoRegistry(dir, key)
	}
	if err != nil {
		return fmt.Errorf("%w: give this user read access", err)
	}
	defer f.Close()
	// The file begins with a random block and a known text, which is encrypted if the store is.
	var head [aes.BlockSize + len(registryText)]byte
	if _, err := io.ReadFull(f, head[:]); err != nil && len(key) == 0 {
		return nil // preflight says what is damaged, and what can be done
	} else if err != nil {
		return fmt.Errorf("%s is damaged: %w: restore a backup", f.Name(), err)
	}
	iv, text := head[:aes.BlockSize], head[aes.BlockSize:]
	switch plain := string(text) == registryText; {
	case plain && len(key) == 0:
		return nil
	case plain:
		return fmt.Errorf("%w: start without a key; to encrypt it, make a backup and restore that with the key into a new directory", ErrNotEncrypted)
	case len(key) == 0:
		// A store that is encrypted has keys behind that; one that is not has a damaged text, of which preflight speaks.
		if info, err := f.Stat(); err == nil && info.Size() == int64(len(head)) {
			return nil
		}
		return fmt.Errorf("%w: give its key", ErrKeyMissing)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	cipher.NewCTR(block, iv).XORKeyStream(text, text)
	if string(text) != registryText {
		return fmt.Errorf("%w: give the one that it was made with; to change it, make a backup with the old one and restore that with the new one into a new directory", ErrKeyWrong)
	}
	return nil
}

// registryText is what Badger knows a right key by.
const registryText = "Hello Badger"

// checkNoRegistry refuses a key for a store whose registry is lost: Badger would begin to encrypt a store half way.
func checkNoRegistry(dir string, key []byte) error {
	if len(key) == 0 {
		return nil
	}
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		return err
	}
	return fmt.Errorf("%s has data and no %s: restore a backup", dir, badger.KeyRegistryFileName)
}
