package storage

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// countInFiles counts how often a text is in the files below a directory.
func countInFiles(tb testing.TB, dir, text string) (n int) {
	tb.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		var b []byte
		if err == nil && !e.IsDir() {
			b, err = os.ReadFile(path)
			n += bytes.Count(b, []byte(text))
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // Badger has just compacted it
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// TestEncryptedStoreHidesWhatItCounts looks for a path and a domain in all files, while the store is open, after merges and after
// its end. In a store without key they are found, so the search is one that can find them.
func TestEncryptedStoreHidesWhatItCounts(t *testing.T) {
	key := bytes.Repeat([]byte("k3y!"), KeyBytes/4)
	var log bytes.Buffer
	for name, key := range map[string][]byte{"without key": nil, "with key": key} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := Options{EncryptionKey: key, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
			db, err := Open(dir, o)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if db.Encrypted() != (key != nil) {
				t.Errorf("Encrypted() = %v", db.Encrypted())
			}
			mustSite(t, db, "needle-in-domain.example")
			look := func(when string) {
				t.Helper()
				for _, needle := range []string{"needle-in-path", "needle-in-domain"} {
					if n := countInFiles(t, dir, needle); (n > 0) == (key != nil) {
						t.Errorf("%s: %s is in the files %d times", when, needle, n)
					}
				}
			}
			for i := range 4 {
				mustAppend(t, db, pageView(1, 20000, fmt.Sprintf("/needle-in-path/%d", i), "DE"), 2)
			}
			look("open")
			settle(t, db)
			look("merged")
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			look("closed")
			if db, err = Open(dir, o); err != nil {
				t.Fatal(err)
			}
			look("open again")
			res := mustQuery(t, db, Query{Site: 1, From: 20000, To: 20000, Metrics: []Metric{PageViews}})
			if got := table(res); got != "2024-10-04/00 [] 4\n" {
				t.Error(got)
			}
			db.Close()
			if key != nil {
				checkKeyHidden(t, dir, log.String(), key)
			}
		})
	}
}

// checkKeyHidden looks for a key in all files of a store and in a text, in the ways in which it could be written.
func checkKeyHidden(t *testing.T, dir, text string, key []byte) {
	t.Helper()
	if text == "" {
		t.Error("nothing was logged: the test shows nothing of it")
	}
	for _, form := range []string{string(key), hex.EncodeToString(key), base64.StdEncoding.EncodeToString(key), fmt.Sprint(key), fmt.Sprintf("%q", key)} {
		if countInFiles(t, dir, form) > 0 || strings.Contains(text, form) {
			t.Errorf("the key is in the files or in the log as %q", form)
		}
	}
}

// TestKeysThatDoNotFitAreRefused checks that each mistake has an error of its own, which does not hold a key, and changes nothing.
func TestKeysThatDoNotFitAreRefused(t *testing.T) {
	right, wrong := bytes.Repeat([]byte("r"), KeyBytes), bytes.Repeat([]byte("w"), KeyBytes)
	tests := map[string]struct {
		made, given []byte
		want        error
		text        string
	}{
		"right":         {right, right, nil, ""},
		"none":          {nil, nil, nil, ""},
		"wrong":         {right, wrong, ErrKeyWrong, "make a backup with the old one and restore that with the new one"},
		"missing":       {right, nil, ErrKeyMissing, "give its key"},
		"not encrypted": {nil, right, ErrNotEncrypted, "make a backup and restore that with the key"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			db, err := Open(dir, Options{EncryptionKey: tt.made})
			if err != nil {
				t.Fatal(err)
			}
			mustSite(t, db, "example.com")
			db.Close()
			before := contents(t, dir)
			db, err = Open(dir, Options{EncryptionKey: tt.given})
			if err == nil {
				defer db.Close()
			}
			if !errors.Is(err, tt.want) || tt.want != nil && !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("Open = %v", err)
			}
			if tt.want == nil {
				return
			}
			if strings.Contains(err.Error(), string(right)) || strings.Contains(err.Error(), string(wrong)) {
				t.Errorf("the error holds the key: %v", err)
			}
			if got := contents(t, dir); got != before {
				t.Error("a file was changed")
			}
		})
	}
	t.Run("of another length", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "new")
		if _, err := Open(dir, Options{EncryptionKey: []byte("short")}); err == nil || !strings.Contains(err.Error(), "want 32") {
			t.Errorf("Open = %v", err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Error("a directory was made")
		}
	})
	t.Run("without its registry", func(t *testing.T) {
		dir := t.TempDir()
		db := mustOpen(t, dir)
		mustSite(t, db, "example.com")
		db.Close()
		if err := os.Remove(filepath.Join(dir, badgerDir, "KEYREGISTRY")); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, Options{EncryptionKey: right}); err == nil || !strings.Contains(err.Error(), "has data and no KEYREGISTRY") {
			t.Errorf("Open = %v", err)
		}
	})
}

// contents writes down names, times and contents of all files.
func contents(tb testing.TB, dir string) string {
	tb.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(&b, path, info.Mode(), info.Size(), info.ModTime())
		if e.Type().IsRegular() {
			text, err := os.ReadFile(path)
			b.Write(text)
			return err
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return b.String()
}
