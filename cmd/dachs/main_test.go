package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// result is what a finished command leaves behind.
type result struct {
	code           int
	stdout, stderr string
}

// dachs runs one command line to its end.
func dachs(t *testing.T, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// must runs a command that has to work, and returns its standard output.
func must(t *testing.T, args ...string) string {
	t.Helper()
	r := dachs(t, args...)
	if r.code != exitOK {
		t.Fatalf("dachs %s: exit code %d, %s", strings.Join(args, " "), r.code, r.stderr)
	}
	return r.stdout
}

// output collects what a running server prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// running is a server that a test started.
type running struct {
	url            string // without a slash at the end
	data           string
	stdout, stderr *output
	stop           func() int // ends it as a signal does, and returns its exit code
}

var dashboardLine = regexp.MustCompile(`Dashboard: (http://\S+)/\n`)

// startDachs starts `dachs` on a free port and waits until it answers.
func startDachs(t *testing.T, data string, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &running{data: data, stdout: &output{}, stderr: &output{}}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append([]string{"--listen", "127.0.0.1:0", "--data", data}, args...), strings.NewReader(""), s.stdout, s.stderr)
	}()
	s.stop = sync.OnceValue(func() int { cancel(); return <-code })
	t.Cleanup(func() { s.stop() })
	for range 1000 {
		if m := dashboardLine.FindStringSubmatch(s.stdout.String()); m != nil {
			s.url = m[1]
			if resp, err := http.Get(s.url + "/healthz"); err == nil {
				resp.Body.Close()
				return s
			}
		}
		select {
		case c := <-code:
			code <- c
			t.Fatalf("dachs ended with %d before it was ready: %s", c, s.stderr)
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatalf("dachs does not answer: %s%s", s.stdout, s.stderr)
	return nil
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestUsageErrors has one line for each way to get the command line or the configuration wrong. None of
// them may leave anything behind.
func TestUsageErrors(t *testing.T) {
	dir := t.TempDir()
	badKey := filepath.Join(dir, "key.toml")
	writeFile(t, badKey, `lisen = ":80"`)
	badSyntax := filepath.Join(dir, "syntax.toml")
	writeFile(t, badSyntax, "listen =\n")
	badValue := filepath.Join(dir, "value.toml")
	writeFile(t, badValue, `trusted-proxies = ["10.0.0.0/8", "proxy"]`)

	f := func(want string, args ...string) {
		t.Helper()
		data := filepath.Join(dir, "data")
		r := dachs(t, append(args, "--data", data)...)
		checkFailure(t, r, exitUsage, want)
		if _, err := os.Stat(data); err == nil {
			t.Errorf("dachs %v made a data directory", args)
		}
	}
	f("unknown flag --bogus", "--bogus")
	f("unexpected argument bogus", "bogus")
	f("--log-level must be one of", "--log-level", "loud")
	f(`--listen "nonsense": want HOST:PORT`, "--listen", "nonsense")
	f(`--trusted-proxies "1.2.3": want an address or a network`, "--trusted-proxies", "10.0.0.0/8,1.2.3")
	f(`--trusted-proxies "10.0.0.0/33"`, "--trusted-proxies", "10.0.0.0/33")
	f(`--client-header: header "a b": want the name of one header`, "--client-header", "a b", "--trusted-proxies", "10.0.0.1")
	f("--client-header X-Real-Ip: is believed only from trusted proxies", "--client-header", "x-real-ip")
	f("--proxy-protocol: is spoken only by trusted proxies", "--proxy-protocol")
	f(`--base-url "ftp://x": want http:// or https://`, "--base-url", "ftp://x")
	f("want scheme and host only, such as https://x.org", "--base-url", "https://x.org/stats")
	f("no such file", "--config", filepath.Join(dir, "missing.toml"))
	f(`unknown key "lisen"; known are base-url,`, "--config", badKey)
	f("line 1", "--config", badSyntax)
	f(`--trusted-proxies "proxy"`, "--config", badValue)
	f(`expected "<domain>"`, "site", "add")
	f("add --yes", "site", "remove", "example.com")
	f("missing flags: --site", "token", "create")
	f("want OP,DIMENSION,VALUE", "query", "--site", "example.com", "--filter", "is,visit:country")
	f(`--where: "AT" stands after the end`, "query", "--site", "example.com", "--where", "visit:country is DE AT")
	f("--limit 0", "query", "--site", "example.com", "--limit", "0")
}

// TestRunErrors has one line for each way in which a right command can fail.
func TestRunErrors(t *testing.T) {
	dir := t.TempDir()
	busy := startDachs(t, filepath.Join(dir, "busy"))
	file := filepath.Join(dir, "file")
	writeFile(t, file, "not a directory")
	newer := filepath.Join(dir, "newer")
	if err := os.Mkdir(newer, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(newer, "format"), "dachs store, format 999\n")
	before := snapshot(t, newer)

	f := func(want string, args ...string) {
		t.Helper()
		checkFailure(t, dachs(t, args...), exitError, want)
	}
	fresh := filepath.Join(dir, "fresh")
	f("the port is in use; stop the program that has it, or choose another with --listen",
		"--listen", strings.TrimPrefix(busy.url, "http://"), "--data", fresh)
	f("in use by another process", "--listen", "127.0.0.1:0", "--data", busy.data)
	for _, data := range []string{file, filepath.Join(file, "below")} {
		f("and not a directory; name a directory with --data", "--listen", "127.0.0.1:0", "--data", data)
		f("and not a directory; name a directory with --data", "site", "list", "--data", data)
		f("and not a directory; name a directory with --data", "site", "add", "example.com", "--data", data)
	}
	f("format 999", "--listen", "127.0.0.1:0", "--data", newer)
	f("format 999", "site", "list", "--data", newer)
	f("--geoip", "--listen", "127.0.0.1:0", "--data", fresh, "--geoip", file)
	f("--geoip", "--listen", "127.0.0.1:0", "--data", fresh, "--geoip", filepath.Join(dir, "missing.mmdb"))
	f("nothing is stored there yet; name the server's directory with --data", "site", "list", "--data", fresh)
	f("no Dachs answers at 127.0.0.1:1 (connection refused): is it running, and is --listen the same?", "healthcheck", "--listen", "127.0.0.1:1")
	f("no site", "query", "--site", "nowhere.example", "--data", busy.data)
	f("`dachs token list` shows all", "token", "revoke", "nothing", "--data", busy.data)

	if _, err := os.Stat(fresh); err == nil {
		t.Errorf("a failed start made a data directory")
	}
	if after := snapshot(t, newer); after != before {
		t.Errorf("a store of a newer format was changed:\n%s\nbefore:\n%s", after, before)
	}
	if status, _ := get(t, busy.url+"/healthz"); status != http.StatusOK {
		t.Errorf("the running server was harmed: /healthz answers %d", status)
	}
}

// checkFailure checks an exit code and that the reason is one line that contains want.
func checkFailure(t *testing.T, r result, code int, want string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d: %s", r.code, code, r.stderr)
	}
	if !strings.HasPrefix(r.stderr, "dachs: ") || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, want) {
		t.Errorf("error is %q, want one line with %q", r.stderr, want)
	}
	if r.stdout != "" {
		t.Errorf("standard output is %q, want nothing", r.stdout)
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// snapshot writes down names and contents of a directory.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			b.WriteString(path + "\n")
			return err
		}
		text, err := os.ReadFile(path)
		b.WriteString(path + ": " + string(text) + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestPrecedence sets one address in three places. The health check names the one that it used.
func TestPrecedence(t *testing.T) {
	config := filepath.Join(t.TempDir(), "dachs.toml")
	writeFile(t, config, "listen = \"127.0.0.1:1\"\nsync = true\ntrusted-proxies = [\"10.0.0.0/8\"]\n")
	f := func(want string, args ...string) {
		t.Helper()
		if r := dachs(t, append([]string{"healthcheck"}, args...)...); r.code != exitError || !strings.Contains(r.stderr, want) {
			t.Errorf("%v: exit code %d, error %q; want an attempt at %s", args, r.code, r.stderr, want)
		}
	}
	f("at 127.0.0.1:1 ", "--config", config)
	t.Setenv("DACHS_CONFIG", config)
	f("at 127.0.0.1:1 ")
	t.Setenv("DACHS_LISTEN", "127.0.0.1:2")
	f("at 127.0.0.1:2 ")
	f("at 127.0.0.1:3 ", "--listen", "127.0.0.1:3")
}

// TestHelp shows that help is no error and reaches standard output.
func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"site", "--help"}, {"query", "--help"}} {
		r := dachs(t, args...)
		if r.code != exitOK || r.stderr != "" || !strings.Contains(r.stdout, "Usage: dachs") {
			t.Errorf("dachs %v: exit code %d, stdout %q, stderr %q", args, r.code, r.stdout, r.stderr)
		}
	}
	for _, args := range [][]string{{"serve", "--help"}, {"query", "--help"}} {
		if out := must(t, args...); strings.Contains(out, ",...,...") {
			t.Errorf("dachs %v doubles the dots of a list:\n%s", args, out)
		}
	}
	for _, want := range []string{"(default visitors,visits,pageviews)", "(default 7d)", "(default 100)", "(default table)", "METRIC_at_least"} {
		if out := strings.Join(strings.Fields(must(t, "query", "--help")), " "); !strings.Contains(out, want) {
			t.Errorf("the help of query lacks %q:\n%s", want, out)
		}
	}
	if out := must(t, "demo", "--help"); !strings.Contains(out, "--data is not used") {
		t.Errorf("the help of demo does not say that it ignores --data:\n%s", out)
	}
	if out := must(t, "version"); !strings.HasPrefix(out, "dachs ") {
		t.Errorf("dachs version prints %q", out)
	}
}
