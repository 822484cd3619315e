package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inMemory returns a directory on a tmpfs.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "dachs-*")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if _, err := newHandover(dir); err != nil {
		t.Skip(err)
	}
	return dir
}

// stop ends the process as a service manager does.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, p.stderr)
	}
}

// today asks for visitors, visits and page views.
func today(t *testing.T, data string) (n [3]int) {
	t.Helper()
	out := must(t, "query", "--data", data, "--site", "example.com", "--range", "all", "--metrics", "visitors,visits,pageviews", "--format", "csv")
	if _, err := fmt.Sscanf(out, "visitors,visits,pageviews\n%d,%d,%d", &n[0], &n[1], &n[2]); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return n
}

// awayFromMidnight waits for the next day if this one ends soon: visitors are of a day.
func awayFromMidnight() {
	if now := time.Now().UTC(); now.Hour() == 23 && now.Minute() == 59 && now.Second() > 30 {
		time.Sleep(31 * time.Second)
	}
}

// TestRestartKnowsVisitors stops the built program in the middle of the day, and kills it.
func TestRestartKnowsVisitors(t *testing.T) {
	awayFromMidnight()
	data, state := t.TempDir(), inMemory(t)
	must(t, "site", "add", "example.com", "--data", data)
	file := filepath.Join(state, stateName)
	visit := func(want [3]int) *process {
		t.Helper()
		p := startProcess(t, data, "--trusted-proxies", "127.0.0.1", "--state", state)
		if left, _ := filepath.Glob(filepath.Join(state, "*")); left != nil {
			t.Errorf("after the start there are %v", left)
		}
		for i := range 3 {
			send(t, p.url, "/", fmt.Sprintf("192.0.2.%d", i))
		}
		if got := today(t, data); got != want {
			t.Errorf("visitors, visits, page views are %v, want %v", got, want)
		}
		return p
	}
	visit([3]int{3, 3, 3}).stop(t)
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Fatalf("the state is %v, %v", info, err)
	}
	visit([3]int{3, 3, 6}).stop(t)
	p := visit([3]int{3, 3, 9})
	p.kill()
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a killed server has left something: %v", err)
	}
	visit([3]int{6, 6, 12}).stop(t)
	writeFile(t, file, "something else")
	visit([3]int{9, 9, 15}).kill()
}

// Where keys could reach a disk, the server does not start, and leaves nothing there.
func TestStateOnDiskIsRefused(t *testing.T) {
	disk := t.TempDir()
	var on unix.Statfs_t
	if err := unix.Statfs(disk, &on); err != nil || on.Type == unix.TMPFS_MAGIC || on.Type == unix.RAMFS_MAGIC {
		t.Skip("the test's directory is in memory")
	}
	data := filepath.Join(disk, "data")
	file := filepath.Join(disk, "file")
	writeFile(t, file, "")
	for state, want := range map[string]string{
		disk:                           "it is on a disk, where keys of visitors must never be; name a directory on a tmpfs",
		file:                           "not a directory",
		filepath.Join(disk, "missing"): "name a directory that exists",
	} {
		r := dachs(t, "--listen", "127.0.0.1:0", "--data", data, "--state", state)
		checkFailure(t, r, exitError, want)
	}
	if err := stateDir(disk).leave(func(f *os.File) error { _, err := f.WriteString("a key"); return err }); err == nil {
		t.Error("a state is written to a disk")
	}
	if left, _ := filepath.Glob(filepath.Join(disk, "*")); len(left) != 1 {
		t.Errorf("on the disk are %v", left)
	}
}

// A file that is a link, laid by someone else, is neither written through nor read.
func TestStateIsNoLink(t *testing.T) {
	dir := stateDir(inMemory(t))
	other := filepath.Join(t.TempDir(), "other")
	writeFile(t, other, "precious")
	for _, name := range []string{dir.file(), dir.file() + ".new"} {
		if err := os.Symlink(other, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := dir.leave(func(f *os.File) error { _, err := f.WriteString("a key"); return err }); err == nil {
		t.Error("a link is written through")
	}
	if f, err := dir.take(); err == nil {
		t.Errorf("a link is read: %v", f.Name())
	}
	if text, err := os.ReadFile(other); string(text) != "precious" {
		t.Errorf("what the link points to is %q, %v", text, err)
	}
}

// manager stands in for systemd: it keeps one descriptor.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
	held *os.File
}

func newManager(t *testing.T) *manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &manager{t: t, conn: conn}
}

// start starts the built program as systemd does: with its own number in LISTEN_PID, which a shell knows.
func (m *manager) start(data string) *process {
	m.t.Helper()
	name, err := builtProgram()
	if err != nil {
		m.t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, name, "--listen", "127.0.0.1:0", "--data", data, "--trusted-proxies", "127.0.0.1")
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+m.conn.LocalAddr().String())
	if m.held != nil {
		cmd.ExtraFiles = []*os.File{m.held}
		cmd.Env = append(cmd.Env, "LISTEN_FDS=1", "LISTEN_FDNAMES="+stateName)
	}
	return startCommand(m.t, cmd)
}

// told returns the next message, and keeps or forgets what it says.
func (m *manager) told() string {
	m.t.Helper()
	text, oob := make([]byte, 1<<10), make([]byte, 1<<10)
	if err := m.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		m.t.Fatal(err)
	}
	n, oobn, _, _, err := m.conn.ReadMsgUnix(text, oob)
	if err != nil {
		m.t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		m.t.Fatal(err)
	}
	if m.held != nil {
		m.held.Close()
		m.held = nil
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil || len(fds) != 1 {
			m.t.Fatal(fds, err)
		}
		m.held = os.NewFile(uintptr(fds[0]), stateName)
	}
	return string(text[:n])
}

func TestSystemdKeepsVisitors(t *testing.T) {
	awayFromMidnight()
	data := t.TempDir()
	must(t, "site", "add", "example.com", "--data", data)
	m := newManager(t)
	for round := range 3 {
		p := m.start(data)
		if round > 0 {
			if text := m.told(); text != "FDSTOREREMOVE=1\nFDNAME="+stateName {
				t.Errorf("the manager is told %q", text)
			}
		}
		send(t, p.url, "/", "192.0.2.1")
		if got, want := today(t, data), [3]int{1, 1, 1 + round}; got != want {
			t.Errorf("round %d: visitors, visits, page views are %v, want %v", round, got, want)
		}
		p.stop(t)
		if strings.Contains(p.stderr.String(), "WARN") {
			t.Errorf("the server says %s", p.stderr)
		}
		if text := m.told(); !strings.HasPrefix(text, "FDSTORE=1\nFDNAME="+stateName+"\n") || m.held == nil {
			t.Errorf("the manager is told %q, and holds %v", text, m.held)
		}
	}
}
