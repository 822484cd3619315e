package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"dachs/tracker/secret"
)

// TestKeyIsNowhereElse looks through all that a server could write to, while it knows visitors and after a thousand hits,
// for each word of its key: in its heap, on its stacks, in its buffers. The memory of the key itself cannot be read.
func TestKeyIsNowhereElse(t *testing.T) {
	if new(secret.Memory).Best() != secret.Hidden {
		t.Skip("the key itself would be found")
	}
	for _, leak := range []bool{false, true} {
		t.Run(fmt.Sprint("leak=", leak), func(t *testing.T) {
			data := t.TempDir()
			must(t, "site", "add", "example.com", "--data", data)
			role := "clean"
			if leak {
				role = "leak"
			}
			cmd := exec.Command(os.Args[0], data)
			cmd.Env = append(os.Environ(), childRole+"="+role)
			p := startCommand(t, cmd)
			for i := range 1000 {
				send(t, p.url, fmt.Sprintf("/page-%d", i%50), fmt.Sprintf("192.0.2.%d", i%200))
			}
			found, bytes := searchMemory(t, p.cmd.Process.Pid)
			if bytes < 1<<20 {
				t.Skipf("only %d bytes of the server's memory can be read", bytes)
			}
			if (found != "") != leak {
				t.Errorf("the key is found: %q", found)
			}
			if n := pageViews(t, data); n != 1000 {
				t.Errorf("%d page views are counted", n)
			}
		})
	}
}

// send sends a page view of a visitor.
func send(t *testing.T, url, path, addr string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url+"/api/event", strings.NewReader(`{"n":"pageview","d":"example.com","u":"https://example.com`+path+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	req.Header.Set("X-Forwarded-For", addr)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // for the next request on this connection
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("a hit is answered with %d", resp.StatusCode)
	}
}

// pageViews asks the running server how many it has counted today.
func pageViews(t *testing.T, data string) (n int) {
	t.Helper()
	out := must(t, "query", "--data", data, "--site", "example.com", "--range", "all", "--metrics", "pageviews", "--format", "csv")
	if _, err := fmt.Sscanf(out, "pageviews\n%d", &n); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return n
}

// searchMemory looks for the words of the first key in all writable memory of a process, as they are and as SipHash begins
// with them, and returns where it found them and how many bytes it read.
func searchMemory(t *testing.T, pid int) (found string, read int) {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Skip(err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Skip(err)
	}
	defer mem.Close()
	var words [][]byte
	for n := range uint64(4) {
		for _, start := range []uint64{0, 0x736f6d6570736575, 0x646f72616e646f6d, 0x6c7967656e657261, 0x7465646279746573} {
			words = append(words, binary.LittleEndian.AppendUint64(nil, knownWord(8*n)^start))
		}
	}
	buf := make([]byte, 1<<20)
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") {
			continue
		}
		for at := from; at < to; at += int64(len(buf)) - 7 { // a word may lie across
			n, err := mem.ReadAt(buf[:min(int64(len(buf)), to-at)], at)
			read += n
			for i, w := range words {
				if j := bytes.Index(buf[:n], w); j >= 0 {
					found += fmt.Sprintf("word %d as %d at %x in %s; ", i/5, i%5, at+int64(j), strings.TrimSpace(line))
				}
			}
			if err != nil {
				break // such as the key's own memory
			}
		}
	}
	return found, read
}

// TestMemoryIsPrivate asks the kernel what it lets others see of the built program.
func TestMemoryIsPrivate(t *testing.T) {
	name, err := builtProgram()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.MkdirTemp("", "dachs-data-*") // where another user may go, too
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(data) })
	cmd := exec.Command(name, "--listen", "127.0.0.1:0", "--data", data)
	if os.Getuid() == 0 { // root's own processes look alike whether they are private or not
		const nobody = 65534
		if err := os.Chmod(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(data, nobody, nobody); err != nil {
			t.Skip(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	p := startCommand(t, cmd)
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.cmd.Process.Pid))
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(limits)) {
		if strings.HasPrefix(line, "Max core file size") && strings.Join(strings.Fields(line)[4:6], " ") != "0 0" {
			t.Errorf("a core may be dumped: %s", line)
		}
	}
	info, err := os.Stat(fmt.Sprintf("/proc/%d/mem", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 {
		t.Errorf("the memory belongs to user %d, want root", owner)
	}
	if text := p.stderr.String(); text != "" {
		t.Errorf("the server complains: %s", text)
	}
}
