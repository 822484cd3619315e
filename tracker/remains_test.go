package tracker

import (
	"bytes"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"dachs/storage"
)

// lockedBuffer is a log that many goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// TestNothingOfTheVisitorRemains looks for marks of visitors who came by the pixel, by a server with a token and for a receipt:
// in every file of the store, in the log at its most talkative, in the metrics and in every answer. One mark that is
// planted in a path shows that they would be found.
func TestNothingOfTheVisitorRemains(t *testing.T) {
	c := newCounting(t)
	log := new(lockedBuffer)
	c.tracker.log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	_, secret, err := c.db.CreateToken(c.site.ID, storage.ScopeCount)
	if err != nil {
		t.Fatal(err)
	}
	marks := []string{"203.0.113.77", "cb00714d", "2001:db8:77", "CanaryBrowser", "canaryquery", "canaryfragment", "canaryip", "canary@example.org", secret}
	agent, from, token := "User-Agent: "+firefox+" CanaryBrowser/1", "X-Forwarded-For: 203.0.113.77", "Authorization: Bearer "+secret
	const page = `"u":"https://example.com/page/canary@example.org?q=canaryquery#canaryfragment"`
	answers := new(strings.Builder)
	ask := func(method, path, body string, header ...string) {
		t.Helper()
		resp, text := c.do(method, path, body, append(header, agent)...)
		answers.WriteString(text)
		for _, values := range resp.Header {
			answers.WriteString(strings.Join(values, "\n"))
		}
	}
	ask("GET", "/pixel.gif?d=example.com&p=/a/canary@example.org%3Fq=canaryquery%23canaryfragment", "", from, "Referer: https://example.com/?canaryquery")
	ask("GET", "/pixel.gif?d=example.com", "", from, "Referer: https://example.com/b?canaryquery#canaryfragment")
	ask("GET", "/pixel.gif?canaryquery", "", from)
	ask("POST", "/api/event", `{"n":"pageview","d":"example.com","ip":"203.0.113.77",`+page+`}`, token)
	ask("POST", "/api/event", `{"n":"pageview","d":"example.com","ip":"2001:db8:77::1",`+page+`}`, token)
	ask("POST", "/api/event", `{"n":"pageview","d":"example.com","ip":"canaryip",`+page+`}`, token)
	ask("POST", "/api/event", `{"n":"pageview","d":"unknown.example","ip":"203.0.113.77",`+page+`}`, token)
	ask("POST", receiptPath, `{"n":"pageview","d":"example.com",`+page+`}`, from)
	ask("POST", receiptPath, `{"n":"pageview","d":"example.com",`+page+`}`, from)
	ask("POST", receiptPath, `{"n":"pageview","d":"unknown.example",`+page+`}`, from)
	ask("POST", receiptPath, `{"n":"pageview","d":"example.com",`+page+`}`, from, "DNT: 1")
	ask("POST", receiptPath, `{"n":"pageview","u":"canaryquery"}`, from)
	ask("GET", "/metrics", "", from)
	ask("POST", receiptPath, `{"n":"pageview","d":"example.com","u":"https://example.com/plantedleak"}`)
	c.tracker.Close()
	c.tracker.stop = make(chan struct{}) // for the clean-up
	if err := c.db.Close(); err != nil {
		t.Fatal(err)
	}
	ask("POST", receiptPath, `{"n":"pageview","d":"example.com",`+page+`}`, from) // 503
	places := map[string][]byte{"an answer": []byte(answers.String()), "the log": log.b.Bytes()}
	err = filepath.WalkDir(c.dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			places[name], err = os.ReadFile(name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	planted := 0
	for place, text := range places {
		text = bytes.ToLower(text)
		if bytes.Contains(text, []byte("plantedleak")) {
			planted++
		}
		i := slices.IndexFunc(marks, func(mark string) bool { return bytes.Contains(text, []byte(strings.ToLower(mark))) })
		if i >= 0 {
			t.Errorf("%s has %s", place, marks[i])
		}
	}
	if planted < 2 {
		t.Errorf("the search finds what is there in %d places, want the receipt and a file", planted)
	}
}
