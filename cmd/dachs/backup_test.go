package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"dachs/storage"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// someLog is an access log of n page views by as many visitors, from page number from on.
func someLog(from, n int) string {
	var b strings.Builder
	for i := from; i < from+n; i++ {
		fmt.Fprintf(&b, `192.0.%d.%d - - [%02d/Nov/2024:10:00:00 +0000] "GET /page-%d HTTP/1.1" 200 100 "-" "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"`+"\n",
			i/250, i%250, 1+i*5/(from+n), i)
	}
	return b.String()
}

// wordyLog has n pages with long names that do not compress well.
func wordyLog(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	log := strings.Split(someLog(0, n), "\n")
	for i := range log {
		var name strings.Builder
		for range 60 {
			for range 4 + r.IntN(3) {
				name.WriteByte(byte('a' + r.IntN(26)))
			}
			name.WriteByte('-')
		}
		log[i] = strings.Replace(log[i], "/page-", "/"+name.String(), 1)
	}
	return strings.Join(log, "\n")
}

// newCounts makes a data directory with a site and page views.
func newCounts(t *testing.T, n int) string {
	t.Helper()
	data := newData(t, "example.com", "UTC")
	mustWith(t, strings.NewReader(someLog(0, n)), "import", "log", "-", "--site", "example.com", "--data", data)
	return data
}

// pages asks for everything of a site.
func pages(t *testing.T, data string, args ...string) string {
	t.Helper()
	return must(t, append([]string{"query", "--data", data, "--site", "example.com", "--range", "all", "--limit", "10000", "--format", "csv",
		"--metrics", "visitors,visits,pageviews,bounce_rate", "--dimensions", "event:page,time:day", "--order-by", "event:page:asc"}, args...)...)
}

// TestBackupAndRestore takes a full backup and an increment, beside a server and without one, and restores them.
func TestBackupAndRestore(t *testing.T) {
	t.Run("without a server", func(t *testing.T) { testBackupAndRestore(t, newCounts(t, 40)) })
	t.Run("beside a server", func(t *testing.T) {
		data := newCounts(t, 40)
		startDachs(t, data)
		testBackupAndRestore(t, data)
	})
}

func testBackupAndRestore(t *testing.T, data string) {
	dir := t.TempDir()
	full, inc := filepath.Join(dir, "full"), filepath.Join(dir, "inc")
	first := pages(t, data)
	if n := strings.Count(first, "\n"); n != 41 {
		t.Fatalf("%d lines, want 40 pages and a head:\n%s", n, first)
	}
	if out := must(t, "backup", full, "--data", data); !strings.Contains(out, "all counts of 1 site") {
		t.Errorf("backup prints %q", out)
	}
	checkMode(t, full, 0o600)
	mustWith(t, strings.NewReader(someLog(40, 10)), "import", "log", "-", "--site", "example.com", "--data", data)
	must(t, "backup", "--since", full, inc, "--data", data)
	second := pages(t, data)

	f := func(want string, stdin io.Reader, files ...string) {
		t.Helper()
		restored := filepath.Join(t.TempDir(), "restored")
		out := mustWith(t, stdin, append([]string{"restore", "--data", restored}, files...)...)
		if !strings.Contains(out, "restored 1 site into "+restored) {
			t.Errorf("restore prints %q", out)
		}
		if got := pages(t, restored); got != want {
			t.Errorf("restored from %v:\n%swant:\n%s", files, got, want)
		}
		checkMode(t, restored, os.ModeDir|0o700)
	}
	f(first, nil, full)
	f(second, nil, full, inc)
	stdin, err := os.Open(full)
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	f(second, stdin, "-", inc)
	f(second, strings.NewReader(must(t, "backup", "-", "--data", data)), "-")
	if left, err := filepath.Glob(filepath.Join(dir, "*.partial")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestBackupRefuses has one line for each mistake that shows before anything is read or written.
func TestBackupRefuses(t *testing.T) {
	data := newData(t, "example.com", "UTC")
	dir := t.TempDir()
	full, inc := filepath.Join(dir, "full"), filepath.Join(dir, "inc")
	must(t, "backup", full, "--data", data)
	before, err := os.ReadFile(full)
	if err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(dir, "damaged")
	writeFile(t, damaged, string(before[:len(before)-1]))
	must(t, "backup", "--since", full, inc, "--data", data)
	fresh := filepath.Join(dir, "fresh")

	f := func(code int, want string, args ...string) {
		t.Helper()
		checkFailure(t, dachs(t, args...), code, want)
	}
	f(exitUsage, "exists: choose another name, or replace a file with --force", "backup", full, "--data", data)
	f(exitUsage, "exists: choose another name", "backup", dir, "--force", "--data", data)
	f(exitUsage, "read --since: open", "backup", filepath.Join(dir, "x"), "--since", filepath.Join(dir, "missing"), "--data", data)
	f(exitError, damaged+": backup cannot be used: it ends early", "backup", filepath.Join(dir, "x"), "--since", damaged, "--data", data)
	f(exitError, "no such file or directory: give this user write access", "backup", filepath.Join(dir, "missing", "x"), "--data", data)
	f(exitError, "nothing is stored there yet", "backup", filepath.Join(dir, "x"), "--data", fresh)
	f(exitUsage, `expected "<file>"`, "backup", "--data", data)
	f(exitUsage, "no such file", "restore", filepath.Join(dir, "missing"), "--data", fresh)
	f(exitUsage, "standard input can be only one", "restore", "-", "-", "--data", fresh)
	f(exitError, inc+": backup cannot be used: it is an increment", "restore", inc, "--data", fresh)
	f(exitError, "is not empty: name a directory", "restore", full, "--data", data)
	f(exitError, "and not a directory", "restore", full, "--data", full)
	if _, err := os.Stat(filepath.Join(dir, "x")); err == nil {
		t.Error("a refused backup left a file")
	}
	if _, err := os.Stat(fresh); err == nil {
		t.Error("a refused restore left a directory")
	}
	if after, err := os.ReadFile(full); err != nil || string(after) != string(before) {
		t.Errorf("the backup that was there has changed, %v", err)
	}
}

// TestBackupReplaces has what may lie in a backup's place: an older one, and what a killed backup left, or somebody put there.
func TestBackupReplaces(t *testing.T) {
	data := newData(t, "example.com", "UTC")
	dir := t.TempDir()
	file, precious := filepath.Join(dir, "file"), filepath.Join(dir, "precious")
	writeFile(t, file, "old")
	writeFile(t, precious, "precious")
	if err := os.Symlink(precious, partialName(file)); err != nil {
		t.Fatal(err)
	}
	must(t, "backup", file, "--force", "--data", data)
	must(t, "restore", file, "--data", filepath.Join(dir, "restored"))
	if text, err := os.ReadFile(precious); err != nil || string(text) != "precious" {
		t.Errorf("a file that a link points to has changed to %q, %v", text, err)
	}
}

// TestBackupThatIsCutOffLeavesNoFile cuts the connection to the server in the middle of the answer, as the end of a server does.
func TestBackupThatIsCutOffLeavesNoFile(t *testing.T) {
	data := newCounts(t, 100)
	size := len(must(t, "backup", "-", "--data", data))
	startDachs(t, data)
	cutAdmin(t, data, int64(size/2))
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, "old")
	checkFailure(t, dachs(t, "backup", file, "--force", "--data", data), exitError, file+" was not written")
	if text, err := os.ReadFile(file); err != nil || string(text) != "old" {
		t.Errorf("the older backup is gone: %d bytes, %v", len(text), err)
	}
	if _, err := os.Lstat(partialName(file)); err == nil {
		t.Error("half a backup was left")
	}
	if r := dachs(t, "backup", "-", "--data", data); r.code != exitError || !strings.Contains(r.stderr, "the answer ended early") || len(r.stdout) == 0 {
		t.Errorf("to standard output: exit code %d, %d bytes, %s", r.code, len(r.stdout), r.stderr)
	}
}

// cutAdmin puts a relay before a server's admin socket that ends each connection after so many bytes of answer.
func cutAdmin(t *testing.T, data string, after int64) {
	t.Helper()
	front, behind := filepath.Join(data, socketName), filepath.Join(data, "real.sock")
	if err := os.Rename(front, behind); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", front)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() { ln.Close(); running.Wait() })
	running.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { relay(client, behind, after) })
		}
	})
}

func relay(client net.Conn, to string, after int64) {
	defer client.Close()
	server, err := net.Dial("unix", to)
	if err != nil {
		return
	}
	defer server.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(server, client)
		server.Close()
	}()
	io.CopyN(client, server, after)
	client.Close()
	<-done
}

// TestBackupSaysWhatHappenedAtTheServer closes the store in the middle of an answer: the command hears why it ended.
func TestBackupSaysWhatHappenedAtTheServer(t *testing.T) {
	data := newData(t, "example.com", "UTC")
	mustWith(t, strings.NewReader(wordyLog(1500)), "import", "log", "-", "--site", "example.com", "--data", data)
	store, err := storage.Open(data, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	adm := &admin{store: store, now: time.Now}
	ln, err := listenAdmin(data) // a socket, which takes less than a part before it is read
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: adm.handler()}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	defer func() { srv.Close(); <-served }()
	cl := remoteClient(data)
	defer cl.Close()
	resp, err := cl.do(t.Context(), http.MethodPost, "/backup", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- store.Close() }()
	for err == nil { // until it is being closed
		_, err = store.Backup(t.Context(), io.Discard, nil)
	}
	rest, err := io.ReadAll(resp.Body)
	if err != nil || len(rest) < 1<<20/2 {
		t.Errorf("%d bytes came, %v", len(rest), err)
	}
	if why := resp.Trailer.Get(failedTrailer); why != "back up store: store is closed" {
		t.Errorf("it ended because of %q", why)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, err := cl.do(t.Context(), http.MethodPost, "/backup", nil); err == nil || err.Error() != "back up store: store is closed" {
		t.Errorf("the next one: %v", err)
	}
	var usage usageError
	if _, err := cl.do(t.Context(), http.MethodPost, "/backup", strings.NewReader("nonsense")); !errors.As(err, &usage) {
		t.Errorf("with a list that is none: %v", err)
	}
}

// TestBackupOfDamagedStoreSaysWhy takes the chunks of the store away. A short answer has to say so too.
func TestBackupOfDamagedStoreSaysWhy(t *testing.T) {
	data := newCounts(t, 100)
	must(t, "backup", "-", "--data", data) // merges the days
	b, err := badger.Open(badger.DefaultOptions(filepath.Join(data, "badger")).WithLogger(nil).WithCompression(options.None))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.DropPrefix([]byte("c")), b.Close()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	r := dachs(t, "backup", file, "--data", data)
	r.stderr = regexp.MustCompile(`(?m)^time=.*\n`).ReplaceAllString(r.stderr, "") // merges may have met the damage first, and log it
	checkFailure(t, r, exitError, "chunks are missing: run `dachs check`")
}

// TestBackupToBrokenPipe has a reader that goes away.
func TestBackupToBrokenPipe(t *testing.T) {
	data := newCounts(t, 40)
	var stderr output
	code := run(t.Context(), []string{"backup", "-", "--data", data}, strings.NewReader(""), brokenPipe{}, &stderr)
	if code != exitError || !strings.Contains(stderr.String(), "broken pipe") || !strings.Contains(stderr.String(), "what was written is of no use") {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// TestKilledRestoreIsRefused kills the built program in the middle of restores, at different points.
func TestKilledRestoreIsRefused(t *testing.T) {
	program, err := builtProgram()
	if err != nil {
		t.Fatal(err)
	}
	data := newData(t, "example.com", "UTC")
	mustWith(t, strings.NewReader(wordyLog(2000)), "import", "log", "-", "--site", "example.com", "--data", data)
	want := pages(t, data)
	backup := must(t, "backup", "-", "--data", data)
	if len(backup) < 1<<20 {
		t.Fatalf("the backup has %d bytes: nothing of it is stored before all is read", len(backup))
	}
	restored := filepath.Join(t.TempDir(), "restored")
	for _, left := range []int{len(backup) / 4, 1} {
		killRestore(t, program, restored, backup[:len(backup)-left])
		for _, args := range [][]string{{"serve", "--listen", "127.0.0.1:0"}, {"site", "list"}, {"backup", "-"}} {
			checkFailure(t, dachs(t, append(args, "--data", restored)...), exitError, "a restore has not finished here: unless one is at work, delete everything in that directory and restore again")
		}
		if r := commandWith(t, strings.NewReader(backup), "restore", "-", "--data", restored); r.code != exitError || !strings.Contains(r.stderr, "a restore has not finished here") {
			t.Errorf("restore into it: exit code %d, %s", r.code, r.stderr)
		}
		if err := os.RemoveAll(restored); err != nil {
			t.Fatal(err)
		}
	}
	mustWith(t, strings.NewReader(backup), "restore", "-", "--data", restored)
	if got := pages(t, restored); got != want {
		t.Errorf("restored at last:\n%swant:\n%s", got, want)
	}
}

// killRestore gives a restore a part of a backup, waits until it has made its directory, and kills it.
func killRestore(t *testing.T, program, data, part string) {
	t.Helper()
	cmd := exec.Command(program, "restore", "-", "--data", data)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr output
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(stdin, part); err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if _, err := os.Stat(filepath.Join(data, "badger", "MANIFEST")); err == nil {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	cmd.Process.Kill()
	cmd.Wait() // reports the signal
	stdin.Close()
	if stderr.String() != "" {
		t.Errorf("it was not killed in the middle: %s", &stderr)
	}
}
