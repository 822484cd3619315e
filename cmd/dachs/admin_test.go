package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"dachs/storage"
)

// TestCommands runs the same commands beside a running server and without one.
func TestCommands(t *testing.T) {
	t.Run("without a server", func(t *testing.T) {
		testCommands(t, filepath.Join(t.TempDir(), "data"))
	})
	t.Run("beside a server", func(t *testing.T) {
		testCommands(t, startDachs(t, filepath.Join(t.TempDir(), "data")).data)
	})
	t.Run("with a long path", func(t *testing.T) {
		// Longer than a socket's address can be, so that server and command have to go another way.
		data := filepath.Join(t.TempDir(), strings.Repeat("long-name/", 15), "data")
		testCommands(t, startDachs(t, data).data)
		checkMode(t, filepath.Join(data, socketName), os.ModeSocket|0o600)
	})
}

func testCommands(t *testing.T, data string) {
	do := func(args ...string) result { return dachs(t, append(args, "--data", data)...) }
	has := func(r result, want ...string) {
		t.Helper()
		if r.code != exitOK {
			t.Fatalf("exit code %d: %s", r.code, r.stderr)
		}
		for _, w := range want {
			if !strings.Contains(r.stdout, w) {
				t.Errorf("output lacks %q:\n%s", w, r.stdout)
			}
		}
	}
	has(do("site", "add", "WWW.Example.com", "--timezone", "Europe/Berlin"), "added example.com, time zone Europe/Berlin")
	has(do("site", "add", "second.example"), "time zone UTC")
	checkFailure(t, do("site", "add", "example.com"), exitError, "example.com exists already: see `dachs site list`")
	checkFailure(t, do("site", "add", "two words"), exitUsage, "want a name such as example.com")
	checkFailure(t, do("site", "add", "third.example", "--timezone", "Mars/Olympus"), exitUsage, `time zone "Mars/Olympus": unknown`)
	checkFailure(t, do("site", "add", "third.example", "--timezone", "Local"), exitUsage, `time zone "Local": unknown`)
	has(do("site", "list"), "example.com", "Europe/Berlin", "second.example")

	has(do("site", "keep", "example.com"), "hours: 2 days, details: 761 days, totals: 761 days")
	has(do("site", "keep", "example.com", "--detail", "90", "--totals", "400"), "hours: 2 days, details: 90 days, totals: 400 days")
	has(do("site", "keep", "example.com", "--hours", "7"), "hours: 7 days, details: 90 days, totals: 400 days")
	checkFailure(t, do("site", "keep", "example.com", "--totals", "30"), exitUsage, "totals have to be kept at least as long")
	checkFailure(t, do("site", "keep", "nowhere.example"), exitError, "there is no site nowhere.example")
	has(do("site", "forget", "example.com", "--from", "2026-01-01", "--to", "2026-01-31", "--yes"), "deleted 2026-01-01 to 2026-01-31 of example.com")
	checkFailure(t, do("site", "forget", "example.com", "--from", "2026-01-01", "--to", "2026-01-31"), exitUsage, "add --yes to do it")
	checkFailure(t, do("site", "forget", "example.com", "--from", "2026-02-01", "--to", "2026-01-31", "--yes"), exitUsage, "lies after --to")
	checkFailure(t, do("site", "forget", "example.com", "--from", "2026-01-01", "--to", "2999-01-31", "--yes"), exitUsage, "not over yet there")

	testAliases(t, do)

	created := do("token", "create", "--site", "example.com")
	has(created)
	secret := strings.TrimSuffix(created.stdout, "\n")
	if len(secret) < 20 || strings.ContainsAny(secret, " \n") {
		t.Errorf("token create prints %q, want the secret alone", created.stdout)
	}
	has(do("token", "create", "--site", "second.example", "--count"))
	has(do("token", "list"), "second.example  count", "example.com     stats")
	checkFailure(t, do("token", "create", "--site", "nowhere.example"), exitError, "`dachs site add nowhere.example` adds it")
	list := do("token", "list")
	has(list, "example.com")
	if strings.Contains(list.stdout, secret) {
		t.Errorf("token list shows the secret:\n%s", list.stdout)
	}
	id := strings.Fields(strings.Split(list.stdout, "\n")[1])[0]
	has(do("query", "--site", "example.com", "--metrics", "visitors,pageviews"), "visitors  pageviews\n0         0\n")
	has(do("query", "--site", "example.com", "--metrics", "pageviews", "--dimensions", "event:props:plan", "--totals",
		"--where", `event:page matches "^/(a|b)" or not visit:os is/i ios`), "event:props:plan  pageviews\n(total)           0\n")
	checkFailure(t, do("query", "--site", "example.com", "--where", "event:page matches ^["), exitUsage, `filter over event:page, pattern 1, "^[": missing closing ] at "["`)
	checkFailure(t, do("query", "--site", "example.com", "--metrics", "clicks"), exitUsage, `metric "clicks": unknown`)
	has(do("token", "revoke", id), "revoked "+id)
	if list := do("token", "list"); strings.Contains(list.stdout, id) {
		t.Errorf("the revoked token is still there:\n%s", list.stdout)
	}

	has(do("site", "remove", "www.example.com", "--yes"), "removed example.com")
	if sites := do("site", "list"); strings.Contains(sites.stdout, "example.com") || !strings.Contains(sites.stdout, "second.example") {
		t.Errorf("after the removal of example.com there are:\n%s", sites.stdout)
	}
}

func testAliases(t *testing.T, do func(...string) result) {
	t.Helper()
	is := func(want string, args ...string) {
		t.Helper()
		if r := do(append([]string{"site", "alias"}, args...)...); r.code != exitOK || r.stdout != want {
			t.Errorf("site alias %v: exit code %d, %q %s; want %q", args, r.code, r.stdout, r.stderr, want)
		}
	}
	is("", "example.com", "list")
	is("7\nold.example\n", "example.com", "add", "WWW.old.example", "7")
	is("6f9b2c1e-0d4a-4c55-9a3e-2f7d1b8c0e11\n", "second.example", "add", "6F9B2C1E-0D4A-4C55-9A3E-2F7D1B8C0E11")
	is("7\n", "example.com", "remove", "old.example")
	is("7\n", "example.com", "add", "7")
	checkFailure(t, do("site", "alias", "second.example", "add", "7"), exitError, `alias "7": exists already as a name of example.com`)
	checkFailure(t, do("site", "alias", "second.example", "add", "example.com"), exitError, `alias "example.com": exists already as a name of example.com`)
	checkFailure(t, do("site", "alias", "example.com", "add", "www.example.com"), exitUsage, "that is the site's domain already")
	checkFailure(t, do("site", "alias", "example.com", "add", "a,b"), exitUsage, `alias "a,b": want a domain, or an id such as 7`)
	checkFailure(t, do("site", "alias", "example.com", "remove", "8"), exitUsage, "example.com has no such name; `dachs site alias example.com` shows all")
	checkFailure(t, do("site", "alias", "nowhere.example", "list"), exitError, "there is no site nowhere.example")
	checkFailure(t, do("site", "add", "7"), exitError, "7 exists already")
	checkFailure(t, do("site", "alias", "example.com", "add"), exitUsage, "want `dachs site alias DOMAIN add NAME...`")
	checkFailure(t, do("site", "alias", "example.com", "list", "7"), exitUsage, "want `dachs site alias DOMAIN add NAME...`")
	checkFailure(t, do("site", "alias", "example.com", "swap", "7"), exitUsage, "add")
	is("7\n", "example.com")
}

// TestTokenOpensAPI shows that the secret that is printed is the one that the Stats API takes.
func TestTokenOpensAPI(t *testing.T) {
	s := startDachs(t, filepath.Join(t.TempDir(), "data"))
	must(t, "site", "add", "example.com", "--data", s.data)
	secret := strings.TrimSpace(must(t, "token", "create", "--site", "example.com", "--data", s.data))
	f := func(want int, token string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, s.url+"/api/v2/query",
			strings.NewReader(`{"site_id":"example.com","metrics":["visitors"],"date_range":"7d"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != want {
			text, _ := io.ReadAll(resp.Body)
			t.Errorf("status %d, want %d: %s", resp.StatusCode, want, text)
		}
	}
	f(http.StatusOK, secret)
	f(http.StatusUnauthorized, secret+"x")
}

// TestCommandsAtOnce starts several commands on one store without a server: each waits for its turn.
func TestCommandsAtOnce(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	must(t, "site", "add", "first.example", "--data", data)
	domains := []string{"a.example", "b.example", "c.example", "d.example"}
	var all sync.WaitGroup
	for _, d := range domains {
		all.Go(func() {
			if r := dachs(t, "site", "add", d, "--data", data); r.code != exitOK {
				t.Errorf("site add %s: %s", d, r.stderr)
			}
		})
	}
	all.Wait()
	list := must(t, "site", "list", "--data", data)
	for _, d := range domains {
		if !strings.Contains(list, d) {
			t.Errorf("%s is missing in\n%s", d, list)
		}
	}
}

// TestStaleSocket leaves a socket as a killed server does: commands and the next server do not mind.
func TestStaleSocket(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	must(t, "site", "add", "example.com", "--data", data)
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(data, socketName), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	if list := must(t, "site", "list", "--data", data); !strings.Contains(list, "example.com") {
		t.Errorf("with a stale socket there are the sites:\n%s", list)
	}
	s := startDachs(t, data)
	if list := must(t, "site", "list", "--data", s.data); !strings.Contains(list, "example.com") {
		t.Errorf("beside the new server there are the sites:\n%s", list)
	}
	if s.stderr.String() != "" {
		t.Errorf("the server complains: %s", s.stderr)
	}
}

// TestLockedWithoutSocket has the store open in a process that nobody can talk to.
func TestLockedWithoutSocket(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	db, err := storage.Open(data, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	checkFailure(t, dachs(t, "site", "list", "--data", data), exitError, "in use by another process")
}

// TestStreaming shows that neither way holds a request's body or an answer back until it is complete: the
// import of a large log depends on it.
func TestStreaming(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if err := control.EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		b := make([]byte, 1)
		for {
			n, err := r.Body.Read(b)
			w.Write(b[:n])
			control.Flush()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					t.Error(err)
				}
				return
			}
		}
	})
	f := func(cl *client) {
		t.Helper()
		defer cl.Close()
		pr, pw := io.Pipe()
		go pw.Write([]byte("a"))
		resp, err := cl.do(t.Context(), http.MethodPost, "/", pr)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b := make([]byte, 1)
		for _, want := range "ab" {
			if _, err := io.ReadFull(resp.Body, b); err != nil || rune(b[0]) != want {
				t.Fatalf("read %q, %v; want %q", b, err, want)
			}
			if want == 'a' {
				go func() { pw.Write([]byte("b")); pw.Close() }()
			}
		}
		if n, err := resp.Body.Read(b); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("after the end: read %q, %v", b[:n], err)
		}
	}
	f(inProcess(echo, func() error { return nil }))

	dir := t.TempDir()
	ln, err := listenAdmin(dir)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: echo}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	f(remoteClient(dir))
	srv.Close()
	<-served
}
