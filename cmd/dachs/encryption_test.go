package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKeyForms has one line for each way to write a key down.
func TestKeyForms(t *testing.T) {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(255 - i) // gives + and / in base64
	}
	f := func(right bool, text string) {
		t.Helper()
		got, err := parseKey("here", text)
		if right && (err != nil || !bytes.Equal(got, key)) {
			t.Errorf("%q is %x, %v", text, got, err)
		}
		if !right && (err == nil || !strings.Contains(err.Error(), "here: want 32 random bytes") || len(text) > 2 && strings.Contains(err.Error(), text)) {
			t.Errorf("%q is %x, %v", text, got, err)
		}
	}
	f(true, base64.StdEncoding.EncodeToString(key))
	f(true, base64.StdEncoding.EncodeToString(key)+"\r\n")
	f(true, base64.RawStdEncoding.EncodeToString(key))
	f(true, base64.URLEncoding.EncodeToString(key))
	f(true, hex.EncodeToString(key))
	f(true, " "+strings.ToUpper(hex.EncodeToString(key))+"\n")
	f(false, "")
	f(false, "\n")
	f(false, "a password of people, which is not a key")
	f(false, string(key))
	f(false, hex.EncodeToString(key[:16]))
	f(false, hex.EncodeToString(append(key, 1)))
	f(false, base64.StdEncoding.EncodeToString(key[:31]))
	f(false, base64.StdEncoding.EncodeToString(append(key, 1)))
}

// TestEncryptedData runs server and commands on encrypted data: the key is needed, and shows nowhere.
func TestEncryptedData(t *testing.T) {
	dir := t.TempDir()
	data, keyFile, other := filepath.Join(dir, "data"), filepath.Join(dir, "key"), filepath.Join(dir, "other")
	key := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1, 2, 3, 4}, 8))
	writeFile(t, keyFile, key+"\n")
	writeFile(t, other, base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{4, 3, 2, 1}, 8)))
	var printed strings.Builder
	do := func(args ...string) result {
		r := dachs(t, append(args, "--data", data)...)
		printed.WriteString(r.stdout + r.stderr)
		return r
	}
	if r := do("site", "add", "needle-domain.example", "--encryption-key-file", keyFile); r.code != exitOK {
		t.Fatal(r.stderr)
	}
	checkFailure(t, do("site", "list"), exitError, "store is encrypted: give its key (set with --encryption-key-file or DACHS_ENCRYPTION_KEY)")
	checkFailure(t, do("site", "list", "--encryption-key-file", other), exitError, "encrypted with another key")
	checkFailure(t, do("serve", "--listen", "127.0.0.1:0", "--encryption-key-file", other), exitError, "encrypted with another key")
	checkFailure(t, do("site", "list", "--encryption-key-file", filepath.Join(dir, "missing")), exitUsage, "read --encryption-key-file: open")

	s := startDachs(t, data, "--encryption-key-file", keyFile, "--log-level", "debug")
	if status, _ := get(t, s.url+"/healthz"); status != http.StatusOK {
		t.Errorf("/healthz answers %d", status)
	}
	backup := do("backup", "-") // through the server, so without the key
	if backup.code != exitOK || !strings.Contains(backup.stderr, "The data is encrypted, the backup is not.") || !strings.Contains(backup.stderr, "| age") {
		t.Errorf("backup: exit code %d, %s", backup.code, backup.stderr)
	}
	s.stop()
	printed.WriteString(s.stdout.String() + s.stderr.String())

	t.Setenv("DACHS_ENCRYPTION_KEY", key)
	if r := do("site", "list"); !strings.Contains(r.stdout, "needle-domain.example") {
		t.Errorf("with the key in the environment: %s", r.stderr)
	}
	checkFailure(t, do("site", "list", "--encryption-key-file", keyFile), exitUsage, "both DACHS_ENCRYPTION_KEY and --encryption-key-file are set")
	if in := filesWith(t, data, "needle-domain"); len(in) > 0 {
		t.Errorf("the domain can be read in %v", in)
	}
	if in := filesWith(t, data, key); len(in) > 0 || strings.Contains(printed.String(), key) {
		t.Errorf("the key is in %v, or was printed", in)
	}

	plain := filepath.Join(dir, "plain")
	t.Setenv("DACHS_ENCRYPTION_KEY", "")
	checkFailure(t, dachs(t, "site", "add", "example.com", "--data", plain), exitUsage, "DACHS_ENCRYPTION_KEY: want 32 random bytes")
	os.Unsetenv("DACHS_ENCRYPTION_KEY") // Setenv above restores it
	mustWith(t, strings.NewReader(backup.stdout), "restore", "-", "--data", plain)
	if in := filesWith(t, plain, "needle-domain"); len(in) == 0 {
		t.Error("the domain cannot be found in data that is not encrypted: the search shows nothing")
	}
	again := filepath.Join(dir, "again")
	mustWith(t, strings.NewReader(backup.stdout), "restore", "-", "--data", again, "--encryption-key-file", other)
	checkFailure(t, dachs(t, "site", "list", "--data", again, "--encryption-key-file", keyFile), exitError, "encrypted with another key")
	if out := must(t, "site", "list", "--data", again, "--encryption-key-file", other); !strings.Contains(out, "needle-domain.example") {
		t.Errorf("restored with another key: %s", out)
	}
	checkFailure(t, dachs(t, "site", "list", "--data", plain, "--encryption-key-file", keyFile), exitError, "store is not encrypted: start without a key; to encrypt it")
}

// filesWith lists the files below a directory that hold a text.
func filesWith(t *testing.T, dir, text string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
