package storage

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// encryptedKeys is how many keys each table and log of TestDamagedEncryptedFiles holds.
const encryptedKeys = 200

// encryptedOptions are those of a store with a key. Badger wants caches for such.
func encryptedOptions(dir string) badger.Options {
	return badgerOptions(dir, Options{Logger: discard()}).WithEncryptionKey(bytes.Repeat([]byte("k"), 32)).
		WithIndexCacheSize(1 << 20).WithBlockCacheSize(1 << 20)
}

// TestDamagedEncryptedFiles damages tables, logs, and the registry of keys of a database that is encrypted, and repairs it.
func TestDamagedEncryptedFiles(t *testing.T) {
	whole := memoryDir(t)
	inner := filepath.Join(whole, badgerDir)
	for round := range 2 { // a table, and a log
		b, err := badger.Open(encryptedOptions(inner))
		if err != nil {
			t.Fatal(err)
		}
		for i := range encryptedKeys {
			err := b.Update(func(txn *badger.Txn) error {
				return txn.Set(fmt.Appendf(nil, "key-%d-%04d", round, i), bytes.Repeat([]byte{byte(i)}, 100))
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if round == 0 {
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		defer b.Close()
	}
	files := snapshotOf(t, whole)
	tests := map[string]struct {
		file string
		do   damageCase
		left int // keys after a repair; negative: there is none
	}{
		"nothing":            {"badger/LOCK", flipAt(0), 2 * encryptedKeys},
		"table block":        {"badger/000001.sst", flipAt(4200), 2*encryptedKeys - 1},
		"table index":        {"badger/000001.sst", flipAt(int64(len(files["badger/000001.sst"].data)) - 40), encryptedKeys},
		"log entry":          {"badger/00001.mem", flipAt(5000), 2*encryptedKeys - 1},
		"log vector":         {"badger/00001.mem", flipAt(10), encryptedKeys},
		"log key":            {"badger/00001.mem", flipAt(7), 2 * encryptedKeys},
		"registry":           {"badger/KEYREGISTRY", flipAt(50), -1},
		"registry cut short": {"badger/KEYREGISTRY", cutAt(40), -1},
		"manifest":           {"badger/MANIFEST", flipAt(20), 2 * encryptedKeys},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := memoryDir(t)
			files.write(t, dir)
			if err := tt.do.do(filepath.Join(dir, tt.file)); err != nil {
				t.Fatal(err)
			}
			opts := encryptedOptions(filepath.Join(dir, badgerDir))
			_, err := preflight(dir, opts, discard())
			if name == "nothing" {
				if err != nil {
					t.Fatal(err)
				}
			} else if err == nil || !remedied(err) {
				t.Fatalf("preflight = %v", err)
			}
			var report CheckReport
			_, err = checkFiles(dir, opts, CheckOptions{Repair: true, Options: Options{Logger: discard()}}, newKeeper(filepath.Join(dir, "kept")), &report)
			if err != nil {
				t.Fatalf("%v after %+v", err, report)
			}
			if tt.left < 0 {
				if !report.FilesOnly {
					t.Errorf("%+v", report)
				}
				return
			}
			n, other := encryptedCount(t, opts)
			if n > tt.left || n < tt.left*9/10 || other > 0 {
				t.Errorf("%d keys are left, want %d; %d are wrong", n, tt.left, other)
			}
		})
	}
	t.Run("wrong key", func(t *testing.T) {
		dir := memoryDir(t)
		files.write(t, dir)
		opts := encryptedOptions(filepath.Join(dir, badgerDir))
		for _, key := range [][]byte{bytes.Repeat([]byte("x"), 32), nil} {
			if _, err := preflight(dir, opts.WithEncryptionKey(key), discard()); err != badger.ErrEncryptionKeyMismatch {
				t.Errorf("preflight with key %q = %v", key, err)
			}
		}
	})
}

// encryptedCount counts the keys of TestDamagedEncryptedFiles that are right, and those that are not.
func encryptedCount(t *testing.T, opts badger.Options) (right, wrong int) {
	t.Helper()
	if _, err := os.Stat(opts.Dir); err != nil {
		t.Fatal(err)
	}
	b, err := badger.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	err = b.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			var round, i int
			if _, err := fmt.Sscanf(string(it.Item().Key()), "key-%d-%d", &round, &i); err != nil {
				wrong++
				continue
			}
			v, err := it.Item().ValueCopy(nil)
			if err != nil || !bytes.Equal(v, bytes.Repeat([]byte{byte(i)}, 100)) {
				wrong++
				continue
			}
			right++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return right, wrong
}
