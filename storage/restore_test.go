package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// smallBackup is a full backup of a store with runs of both kinds.
func smallBackup(tb testing.TB) []byte {
	tb.Helper()
	db := mustOpen(tb, tb.TempDir())
	mustSite(tb, db, "example.com")
	mustSite(tb, db, "second.example")
	im, err := db.BeginImport(1)
	if err != nil {
		tb.Fatal(err)
	}
	for i := range 12 {
		err = errors.Join(err, im.Append(pageView(1, 20000, fmt.Sprintf("/%d%s", i, strings.Repeat("x", 800)), "DE")...))
	}
	if err := errors.Join(err, im.Commit(Fingerprint{}, true)); err != nil {
		tb.Fatal(err)
	}
	mustAppend(tb, db, pageView(2, 20001, "/", "FR"), 2)
	backup := mustBackup(tb, db, nil)
	if _, info, err := VerifyBackup(bytes.NewReader(backup)); err != nil || info.Chunks == 0 || info.Written < 4 || info.Records < 3 || info.Sites != 2 {
		tb.Fatalf("the backup is not what the test needs: %+v, %v", info, err)
	}
	return backup
}

// TestDamagedBackupsAreRefused flips every byte of a backup, cuts it at every length, and makes it longer.
func TestDamagedBackupsAreRefused(t *testing.T) {
	backup := smallBackup(t)
	check := func(what string, b []byte) {
		t.Helper()
		if _, _, err := VerifyBackup(bytes.NewReader(b)); !errors.Is(err, ErrBackup) && !errors.Is(err, ErrVersion) {
			t.Errorf("%s of %d: %v", what, len(backup), err)
		}
	}
	for i := range backup {
		for _, flip := range []byte{1, 0xff} {
			damaged := slices.Clone(backup)
			damaged[i] ^= flip
			check(fmt.Sprintf("byte %d xor %x", i, flip), damaged)
		}
		check(fmt.Sprintf("cut at %d", i), backup[:i])
	}
	check("one byte more", append(slices.Clone(backup), 0))
	check("twice", append(slices.Clone(backup), backup...))
	check("a text", []byte(strings.Repeat("something else\n", 50)))
	check("of a newer format", bytes.Replace(backup, fmt.Appendf(nil, "format %d\n", Format), []byte("format 9\n"), 1))
	check("of a format without backups", bytes.Replace(backup, fmt.Appendf(nil, "format %d\n", Format), []byte("format 1\n"), 1))
	check("of a newer kind", bytes.Replace(backup, []byte("backup 1,"), []byte("backup 2,"), 1))
}

// TestDamagedBackupsLeaveNoStore restores damaged backups for good: the directory must not open afterwards.
func TestDamagedBackupsLeaveNoStore(t *testing.T) {
	backup := smallBackup(t)
	flip := func(at int) []byte {
		b := slices.Clone(backup)
		b[at] ^= 1
		return b
	}
	n := len(backup)
	tests := map[string]struct {
		backup  []byte
		touched bool // the damage shows only after the directory was made
	}{
		"empty":                 {nil, false},
		"line":                  {flip(3), false},
		"length of a part":      {flip(len(fmt.Sprintf(backupLine, BackupVersion, Format))), false},
		"beginning of a part":   {flip(len(fmt.Sprintf(backupLine, BackupVersion, Format)) + 5), false},
		"end mark":              {flip(n - 33), true},
		"checksum":              {flip(n - 1), true},
		"cut before the end":    {backup[:n-36], true},
		"cut in the checksum":   {backup[:n-1], true},
		"something behind it":   {append(slices.Clone(backup), 'x'), true},
		"a part is there twice": {twicePart(backup), true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new")
			_, err := Restore(t.Context(), dir, Options{}, BackupFile{"the-file", bytes.NewReader(tt.backup)})
			if !errors.Is(err, ErrBackup) || !strings.Contains(err.Error(), "the-file: ") {
				t.Errorf("Restore = %v", err)
			}
			if _, err := os.Stat(dir); (err == nil) != tt.touched {
				t.Errorf("the directory: %v", err)
			}
			if tt.touched {
				checkRefused(t, dir)
				if !strings.Contains(err.Error(), "delete everything in "+dir) {
					t.Errorf("the error does not say what to do: %v", err)
				}
			}
		})
	}
}

// twicePart repeats the only part of a backup.
func twicePart(backup []byte) []byte {
	line := bytes.IndexByte(backup, '\n') + 1
	end := len(backup) - 36
	return slices.Concat(backup[:end], backup[line:end], backup[end:])
}

// TestRunsThatNoBackupHoldsAreMissed has an increment that lists a run, leaves it out, and claims a base that has it.
func TestRunsThatNoBackupHoldsAreMissed(t *testing.T) {
	full := smallBackup(t)
	base := runsOf(t, full).sum()
	body := append([]byte{1}, base[:]...)
	key := runRef{1, Hits, 30000, 0, 1}.headerKey()
	body = append(append(body, byte(len(key))), key...)
	body = append(body, 0, 0, 0, 1, 0, 0, 0) // ends of the list, the runs and the rest; counts
	dir := filepath.Join(t.TempDir(), "new")
	if _, err := Restore(t.Context(), dir, Options{}, backupFiles(full, envelope(t, body))...); !errors.Is(err, ErrBackup) || !strings.Contains(err.Error(), "is in none of the files") {
		t.Errorf("Restore = %v", err)
	}
	checkRefused(t, dir)
}

// checkRefused checks that neither Open nor another restore takes a directory.
func checkRefused(t *testing.T, dir string) {
	t.Helper()
	db, err := Open(dir, Options{})
	if !errors.Is(err, ErrRestoring) || !strings.Contains(err.Error(), "restore again") {
		t.Errorf("Open = %v", err)
	}
	if err == nil {
		db.Close()
	}
	if _, err := Restore(context.Background(), dir, Options{}, backupFiles(smallBackup(t))...); !errors.Is(err, ErrRestoring) {
		t.Errorf("Restore into it again = %v", err)
	}
}

// TestRestoreRefusesAtOnce has one case for each mistake that shows before anything is written.
func TestRestoreRefusesAtOnce(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	mustSite(t, db, "example.com")
	backup := func(since *RunList) []byte {
		mustAppend(t, db, pageView(1, 20000, "/", "DE"), 2)
		return mustBackup(t, db, since)
	}
	full := backup(nil)
	first := backup(runsOf(t, full))
	second := backup(runsOf(t, first))
	other := smallBackup(t)
	tests := map[string]struct {
		chain [][]byte
		want  string
	}{
		"nothing":            {nil, "there is none"},
		"increment alone":    {[][]byte{first}, "backup-0: backup cannot be used: it is an increment: name the full backup"},
		"two full ones":      {[][]byte{full, other}, "backup-1: backup cannot be used: it is a full backup"},
		"one is left out":    {[][]byte{full, second}, "backup-1: backup cannot be used: it does not build on backup-0"},
		"wrong order":        {[][]byte{full, second, first}, "it does not build on backup-0"},
		"of another store":   {[][]byte{other, first}, "it does not build on backup-0"},
		"one twice":          {[][]byte{full, first, first}, "backup-2: backup cannot be used: it does not build on backup-1"},
		"not a backup":       {[][]byte{[]byte("hello")}, "does not begin as backups of Dachs do"},
		"last is cut":        {[][]byte{full, first[:40]}, "backup-1: backup cannot be used: it ends early"},
		"of a newer version": {[][]byte{bytes.Replace(full, fmt.Appendf(nil, "format %d\n", Format), []byte("format 7\n"), 1)}, "install the version that wrote it, or a newer one"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new")
			if _, err := Restore(t.Context(), dir, Options{}, backupFiles(tt.chain...)...); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Restore = %v", err)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Error("a directory was made")
			}
		})
	}
	t.Run("directory in use", func(t *testing.T) {
		before := dump(t, db)
		if _, err := Restore(t.Context(), db.dir, Options{}, backupFiles(full)...); err == nil || !strings.Contains(err.Error(), "is not empty") {
			t.Errorf("Restore = %v", err)
		}
		if got := dump(t, db); !slices.Equal(got, before) {
			t.Error("the store that was there has changed")
		}
	})
	t.Run("short key", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "new")
		if _, err := Restore(t.Context(), dir, Options{EncryptionKey: []byte("short")}, backupFiles(full)...); err == nil || !strings.Contains(err.Error(), "want 32") {
			t.Errorf("Restore = %v", err)
		}
	})
}

// TestUnfinishedRestoresAreRefused stops restores in the middle: the backup goes on, but the disk or the patience ends.
func TestUnfinishedRestoresAreRefused(t *testing.T) {
	backup := smallBackup(t)
	cut := errors.New("cable pulled")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tests := map[string]struct {
		ctx    context.Context
		free   uint64
		reader io.Reader
		want   error
	}{
		"disk full":   {t.Context(), reserve - 1, bytes.NewReader(backup), ErrUnavailable},
		"pipe breaks": {t.Context(), reserve, io.MultiReader(bytes.NewReader(backup[:len(backup)-36]), failingReader{cut}), cut},
		"interrupted": {ctx, reserve, io.MultiReader(bytes.NewReader(backup[:len(backup)-36]), hook{cancel}, bytes.NewReader(backup[len(backup)-36:])), context.Canceled},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new")
			o := Options{free: func(string) (uint64, error) { return tt.free, nil }}
			if _, err := Restore(tt.ctx, dir, o, BackupFile{"-", tt.reader}); !errors.Is(err, tt.want) {
				t.Errorf("Restore = %v", err)
			}
			checkRefused(t, dir)
		})
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// hook calls a function where it is read, and has no bytes.
type hook struct{ f func() }

func (h hook) Read([]byte) (int, error) { h.f(); return 0, io.EOF }

// TestRestoreOnAFileSystemOfItsOwn has the directory that file systems begin with.
func TestRestoreOnAFileSystemOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), dir, Options{}, backupFiles(smallBackup(t))...); err != nil {
		t.Fatal(err)
	}
	if got := mustOpen(t, dir).Sites(); len(got) != 2 {
		t.Errorf("restored %d sites", len(got))
	}
}

// TestLargeBodies writes bodies around the size of a part and reads them back, whole and with reads of odd sizes.
func TestLargeBodies(t *testing.T) {
	noise := rand.NewChaCha8([32]byte{})
	for _, size := range []int{1, backupPart - 1, backupPart, backupPart + 1, 3*backupPart + 12345} {
		body := make([]byte, size)
		noise.Read(body)
		var file bytes.Buffer
		w, err := newPartWriter(&file, Format, t.Context().Err)
		if err != nil {
			t.Fatal(err)
		}
		w.field(body)
		if err := w.finish(); err != nil {
			t.Fatal(err)
		}
		r, _, err := newPartReader(bytes.NewReader(file.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.field(nil, size)
		if err == nil {
			err = r.finish()
		}
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes came back as %d, %v", size, len(got), err)
		}
		r.close()
	}
}

// FuzzReadBackup reads anything as a backup, with the checksum made right, so that what lies behind it is reached.
func FuzzReadBackup(f *testing.F) {
	backup := smallBackup(f)
	body := bodyOf(f, backup)
	f.Add(backup, body)
	f.Add(fmt.Appendf(nil, backupLine, BackupVersion, Format), []byte{})
	f.Add([]byte{}, append(make([]byte, 33), 0, 0, 0, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, file, body []byte) {
		if _, info, err := VerifyBackup(bytes.NewReader(file)); err == nil && info.Bytes != int64(len(file)) {
			t.Errorf("took %d of %d bytes", info.Bytes, len(file))
		}
		_, info, err := VerifyBackup(bytes.NewReader(envelope(t, body)))
		if err == nil && info.Runs < info.Written {
			t.Errorf("%+v", info)
		}
		if err != nil && !errors.Is(err, ErrBackup) {
			t.Errorf("unexpected error %v", err)
		}
	})
}

// bodyOf takes a body out of its envelope.
func bodyOf(tb testing.TB, backup []byte) []byte {
	tb.Helper()
	r, _, err := newPartReader(bytes.NewReader(backup))
	if err != nil {
		tb.Fatal(err)
	}
	defer r.close()
	body, err := io.ReadAll(r)
	if err != nil {
		tb.Fatal(err)
	}
	return body
}

// envelope puts a body into an envelope that is right.
func envelope(tb testing.TB, body []byte) []byte {
	tb.Helper()
	var file bytes.Buffer
	w, err := newPartWriter(&file, Format, tb.Context().Err)
	if err != nil {
		tb.Fatal(err)
	}
	w.write(body)
	if err := w.finish(); err != nil {
		tb.Fatal(err)
	}
	return file.Bytes()
}

// TestBackupsThatContradictThemselvesAreRefused changes a body and makes the checksum right again, as a damaged program would.
func TestBackupsThatContradictThemselvesAreRefused(t *testing.T) {
	body := bodyOf(t, smallBackup(t))
	if _, _, err := VerifyBackup(bytes.NewReader(envelope(t, body))); err != nil {
		t.Fatalf("the test's own envelope: %v", err)
	}
	refused, step := 0, 5
	if os.Getenv("DACHS_SOAK") != "" {
		step = 1
	}
	for i := 0; i < len(body); i += step {
		damaged := slices.Clone(body)
		damaged[i] ^= 0x40
		_, _, err := VerifyBackup(bytes.NewReader(envelope(t, damaged)))
		if err != nil && !errors.Is(err, ErrBackup) {
			t.Fatalf("byte %d: %v", i, err)
		}
		if err != nil {
			refused++
		}
	}
	if refused < 100 { // keys, lengths and counts; values may be anything
		t.Errorf("%d of %d changes were refused", refused, len(body))
	}
}
