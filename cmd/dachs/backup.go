package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"dachs/storage"

	"golang.org/x/term"
)

// backupCmd is `dachs backup`.
type backupCmd struct {
	File  string `arg:"" help:"File to write, or - for standard output. It is complete as soon as it is there."`
	Since string `help:"Write an increment: only what the backup BASE, and those that it builds on, do not hold. BASE is the one that was made last." placeholder:"BASE"`
	Force bool   `help:"Replace FILE if it exists."`
}

// Help implements kong's help of a command.
func (backupCmd) Help() string {
	return "A backup holds one moment of the data, while the server goes on counting. It is not encrypted, also if the data is; " +
		"to encrypt it: dachs backup - | age -r RECIPIENT > FILE. Logins are not in it; owner, sites and API tokens are."
}

const (
	// encryptedHeader in an answer says that the store is encrypted, which a backup is not.
	encryptedHeader = "Dachs-Encrypted"
	// failedTrailer says behind the body what went wrong after it had begun.
	failedTrailer = "Dachs-Error"
	// maxRunList bounds the list of runs that a command may send: some 3 million.
	maxRunList = 64 << 20
)

// backup answers with a backup of the store. The body of the request is the list of runs to leave out, if any.
func (a *admin) backup(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRunList))
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	var since *storage.RunList
	if len(body) > 0 {
		if since, err = storage.ParseRunList(body); err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
	}
	if a.store.Encrypted() {
		w.Header().Set(encryptedHeader, "1")
	}
	w.Header().Set("Trailer", failedTrailer) // said before the first byte, or a short answer has none
	out := &meter{w: w}
	if _, err = a.store.Backup(r.Context(), out, since); err == nil {
		return
	}
	if out.bytes == 0 {
		refuseStore(w, err)
		return
	}
	// The command sees that the backup is not complete, and can say why.
	w.Header().Set(failedTrailer, err.Error())
}

// meter counts what is written through it.
type meter struct {
	w     io.Writer
	bytes int64
}

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	m.bytes += int64(n)
	return n, err
}

// Run implements the command.
func (c *backupCmd) Run(ctx context.Context, a *app) error {
	since, err := c.readBase()
	if err != nil {
		return err
	}
	if c.File == "-" {
		return c.toStdout(ctx, a, since)
	}
	out, err := createBackup(c.File, c.Force)
	if err != nil {
		return err
	}
	info, err := c.fetch(ctx, a, since, out.file)
	if err != nil {
		return errors.Join(fmt.Errorf("back up: %w; %s was not written", err, c.File), out.discard())
	}
	if err := out.commit(); err != nil {
		return fmt.Errorf("back up: %w; %s was not written", err, c.File)
	}
	return c.report(a.stdout, info)
}

func (c *backupCmd) toStdout(ctx context.Context, a *app, since []byte) error {
	if f, ok := a.stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return usagef("back up: standard output is a terminal: name a file, or pass the backup on with | or >")
	}
	if _, err := c.fetch(ctx, a, since, a.stdout); err != nil {
		return fmt.Errorf("back up: %w; what was written is of no use", err)
	}
	return nil
}

// report says what was written.
func (c *backupCmd) report(w io.Writer, info storage.BackupInfo) error {
	what := "all counts"
	if c.Since != "" {
		what = "what " + c.Since + " does not hold"
	}
	_, err := fmt.Fprintf(w, "wrote %s, %.1f MB: %s of %s\n", c.File, float64(info.Bytes)/1e6, what, plural(info.Sites, "site"))
	return err
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return grouped(int64(n)) + " " + what
}

// readBase returns the list of runs of the base, as the server takes it; nil for a full backup.
func (c *backupCmd) readBase() ([]byte, error) {
	if c.Since == "" {
		return nil, nil
	}
	f, err := os.Open(c.Since)
	if err != nil {
		return nil, usagef("read --since: %w", err)
	}
	defer f.Close()
	list, _, err := storage.VerifyBackup(f)
	if err != nil {
		return nil, fmt.Errorf("read --since %s: %w", c.Since, err)
	}
	return list.AppendBinary(nil)
}

// fetch writes a backup to out and checks it on the way.
func (c *backupCmd) fetch(ctx context.Context, a *app, since []byte, out io.Writer) (info storage.BackupInfo, err error) {
	err = a.with(ctx, local{}, func(cl *client) error {
		resp, err := cl.do(ctx, http.MethodPost, "/backup", bytes.NewReader(since))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.Header.Get(encryptedHeader) != "" {
			fmt.Fprintln(a.stderr, "The data is encrypted, the backup is not. To encrypt it: dachs backup - | age -r RECIPIENT > FILE")
		}
		show := newTransfer(a, out)
		defer show.line.clear()
		_, info, err = storage.VerifyBackup(io.TeeReader(resp.Body, show))
		if why := resp.Trailer.Get(failedTrailer); err != nil && why != "" {
			return errors.New(why)
		}
		if errors.Is(err, storage.ErrBackup) {
			return fmt.Errorf("%w: the server has stopped, or the connection was cut", errCutOff)
		}
		return err
	})
	return info, err
}

// transfer shows on a terminal how much has passed through it.
type transfer struct {
	meter
	line *progressLine
	last time.Time
}

func newTransfer(a *app, w io.Writer) *transfer {
	return &transfer{meter: meter{w: w}, line: newProgressLine(a)}
}

// Write implements io.Writer.
func (t *transfer) Write(p []byte) (int, error) {
	n, err := t.meter.Write(p)
	if now := t.line.now(); now.Sub(t.last) >= progressEvery {
		t.last = now
		t.line.show(fmt.Sprintf("%.1f MB", float64(t.bytes)/1e6))
	}
	return n, err
}

// backupFile is a file that gets its name when it is complete.
type backupFile struct {
	file *os.File
	name string
}

// partialName is where a backup lies until it is complete.
func partialName(name string) string { return name + ".partial" }

func createBackup(name string, force bool) (*backupFile, error) {
	if info, err := os.Lstat(name); err == nil && (!force || !info.Mode().IsRegular()) {
		return nil, usagef("back up: %s exists: choose another name, or replace a file with --force", name)
	}
	// What lies there was left by a backup that was killed. It is removed and not opened: it could be a link to elsewhere.
	if err := os.Remove(partialName(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("back up: %w", err)
	}
	f, err := os.OpenFile(partialName(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("back up: %w: give this user write access, or choose another directory", err)
	}
	return &backupFile{f, name}, nil
}

func (b *backupFile) discard() error { return errors.Join(b.file.Close(), os.Remove(b.file.Name())) }

// commit brings the file to the disk and gives it its name.
func (b *backupFile) commit() error {
	if err := b.file.Sync(); err != nil {
		return errors.Join(err, b.discard())
	}
	ours, err := b.file.Stat()
	if err != nil {
		return errors.Join(err, b.discard())
	}
	if err := b.file.Close(); err != nil {
		return errors.Join(err, os.Remove(b.file.Name()))
	}
	if there, err := os.Stat(b.file.Name()); err != nil || !os.SameFile(ours, there) {
		return fmt.Errorf("%s was replaced meanwhile: another backup to the same file is at work", b.file.Name())
	}
	if err := os.Rename(b.file.Name(), b.name); err != nil {
		return errors.Join(err, os.Remove(b.file.Name()))
	}
	return syncDir(filepath.Dir(b.name))
}

// syncDir makes a new name in a directory durable, where the system lets one ask for that.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
