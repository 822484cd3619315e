package main

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// oldStore is a store that Dachs 0.1.0 wrote, and what its `dachs query` answered.
const oldStore = "../../storage/testdata/format-1"

// oldAnswers is the file beside the old store.
type oldAnswers struct {
	Token   string
	Answers []struct {
		Site, Range                  string
		Metrics, Dimensions, Filters []string
		Results                      json.RawMessage
	}
}

func unpackOldStore(t *testing.T) (data string, old oldAnswers) {
	t.Helper()
	text, err := os.ReadFile(oldStore + ".json")
	if err == nil {
		err = json.Unmarshal(text, &old)
	}
	if err != nil {
		t.Fatal(err)
	}
	data = t.TempDir()
	if out, err := exec.Command("tar", "-xzf", oldStore+".tar.gz", "-C", data).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return data, old
}

// TestServeUpgrades starts the server on a store of an older version: it says what it does, answers as before, and counts.
func TestServeUpgrades(t *testing.T) {
	data, old := unpackOldStore(t)
	s := startDachs(t, data, "--trusted-proxies", "127.0.0.1")
	for _, want := range []string{"upgrading the store", "from=1", "snapshot=" + filepath.Join(data, "before-format-")} {
		if !strings.Contains(s.stderr.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, s.stderr)
		}
	}
	for _, q := range old.Answers {
		if q.Site != "blog.example" { // one site is enough here: storage asks them all
			continue
		}
		args := []string{"query", "--data", data, "--format", "json", "--limit", "10000", "--site", q.Site, "--range", q.Range, "--metrics", strings.Join(q.Metrics, ",")}
		if len(q.Dimensions) > 0 {
			args = append(args, "--dimensions", strings.Join(q.Dimensions, ","))
		}
		for _, f := range q.Filters {
			args = append(args, "--filter", f)
		}
		var got struct{ Results json.RawMessage }
		if err := json.Unmarshal([]byte(must(t, args...)), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(q.Results), string(got.Results)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", args, diff)
		}
	}
	if status := askStats(t, s.url, old.Token); status != http.StatusOK {
		t.Errorf("the Stats API answers an old token with %d", status)
	}
	must(t, "site", "add", "example.com", "--data", data) // of which the ledger sends
	l := &ledger{sent: make(map[string]bool), accepted: make(map[string]bool)}
	l.send(http.DefaultClient, s.url, roundPath(0)+"new", "192.0.2.1")
	found := make(map[string]bool)
	if l.checkRound(t, data, 0, found); len(found) != 1 || len(l.accepted) != 1 {
		t.Errorf("after the upgrade %v was accepted and %v counted", l.accepted, found)
	}
}

// TestQueryUpgrades asks without a server: whichever command comes first upgrades.
func TestQueryUpgrades(t *testing.T) {
	data, old := unpackOldStore(t)
	for i, want := range []bool{true, false} {
		r := dachs(t, "query", "--data", data, "--site", old.Answers[0].Site, "--range", old.Answers[0].Range)
		if got := strings.Contains(r.stderr, "upgrading the store"); r.code != exitOK || got != want {
			t.Errorf("query %d: exit code %d, %s; want upgrade %v", i+1, r.code, r.stderr, want)
		}
	}
}

// askStats asks for something of shop.example with a token.
func askStats(t *testing.T, url, token string) (status int) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url+"/api/v2/query", strings.NewReader(`{"site_id":"shop.example","metrics":["pageviews"],"date_range":"all"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}
