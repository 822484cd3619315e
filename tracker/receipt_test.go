package tracker

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"dachs/storage"
)

const receiptPath = "/api/event?receipt=1"

// told is a receipt as its reader sees it.
type told struct {
	siteReceipt
	Also []siteReceipt
}

func (c *counting) receipt(body string, header ...string) told {
	c.t.Helper()
	resp, text := c.do("POST", receiptPath, body, header...)
	var r told
	if err := json.Unmarshal([]byte(text), &r); err != nil || resp.StatusCode != 200 {
		c.t.Fatalf("%s: %d %s (%v)", body, resp.StatusCode, text, err)
	}
	if resp.Header.Get("Cache-Control") != "no-store" {
		c.t.Errorf("the receipt may be cached: %v", resp.Header)
	}
	return r
}

// sum adds up one measure of a table over all counters.
func (r told) sum(table, measure string) (n int64) {
	for _, c := range r.Counters {
		if c.Table == table {
			n += c.Add[measure]
		}
	}
	return n
}

// TestReceiptIsWhatWasStored compares the receipt of a newcomer with what the store answers afterwards.
func TestReceiptIsWhatWasStored(t *testing.T) {
	c := newCounting(t)
	r := c.receipt(`{"n":"pageview","u":"https://example.com/a?utm_source=letter","d":"example.com","r":"https://other.example/x"}`)
	if !r.Counted || r.Reason != "accepted" || r.Site != "example.com" || r.Withheld || !strings.Contains(r.Text, "as a visitor") {
		t.Errorf("receipt is %+v", r)
	}
	c.expect([4]int{int(r.sum("visits", "visitors")), int(r.sum("visits", "visits")), int(r.sum("visits", "pageviews")), int(r.sum("hits", "hits"))})
	c.expect([4]int{1, 1, 1, 1})
	for _, counter := range r.Counters {
		for name, value := range counter.Dimensions {
			column, err := storage.ParseColumn(name)
			if err != nil {
				continue // not asked for in reports
			}
			res, err := c.db.Query(context.Background(), storage.Query{Site: c.site.ID, From: storage.DayOf(c.clock()), To: storage.DayOf(c.clock()),
				GroupBy: []storage.Column{column}, Metrics: []storage.Metric{storage.VisitsTotal}})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if len(res.Rows) != 1 || res.Rows[0].Keys[0] != value {
				t.Errorf("%s is %q in the receipt, the store has %v", name, value, res.Rows)
			}
		}
		if counter.Date != "2026-05-04" || counter.Dimensions["hour"] != "14" {
			t.Errorf("counter is of %s, %s", counter.Date, counter.Dimensions["hour"])
		}
	}
	if got := r.Counters[0].Dimensions["visit:source"]; got != "letter" {
		t.Errorf("source is %q", got)
	}
}

// TestReceiptTellsNothingOfEarlierHits asks for receipts behind an address and browser that somebody else has used. All that may
// differ from what another history gives is whether it was the first hit of the day.
func TestReceiptTellsNothingOfEarlierHits(t *testing.T) {
	histories := map[string][]string{
		"one page":  {`{"n":"pageview","u":"https://example.com/secret?utm_campaign=mail","d":"example.com","r":"https://clinic.example/"}`},
		"this page": {`{"n":"pageview","u":"https://example.com/b","d":"example.com"}`},
		"many": {`{"n":"pageview","u":"https://example.com/x","d":"example.com"}`, `{"n":"Signup","u":"https://example.com/x","d":"example.com","p":{"plan":"pro"}}`,
			`{"n":"pageview","u":"https://www.example.com/secret","d":"example.com"}`, `{"n":"engagement","u":"https://www.example.com/secret","d":"example.com","e":100,"sd":80}`},
	}
	events := []string{`{"n":"pageview","u":"https://example.com/b","d":"example.com"}`, `{"n":"pageview","u":"https://example.com/secret","d":"example.com"}`,
		`{"n":"Signup","u":"https://example.com/x","d":"example.com","p":{"plan":"pro"},"$":{"amount":"2.50","currency":"EUR"}}`}
	c := newCounting(t)
	people := 0
	for _, event := range events {
		texts := make(map[string]bool)
		for _, name := range slices.Sorted(maps.Keys(histories)) {
			people++
			address := fmt.Sprintf("X-Forwarded-For: 192.0.2.%d", people)
			for _, earlier := range histories[name] {
				c.hit(earlier, address, "Accept-Language: fr")
			}
			_, text := c.do("POST", receiptPath, event, address, "Accept-Language: en")
			texts[text] = true
		}
		if len(texts) != 1 {
			t.Errorf("%s: receipts tell histories apart:\n%s", event, strings.Join(slices.Sorted(maps.Keys(texts)), ""))
		}
		for text := range texts {
			var r told
			if err := json.Unmarshal([]byte(text), &r); err != nil {
				t.Fatal(err)
			}
			if !r.Counted || !r.Withheld || len(r.Counters) != 1 || r.sum("hits", "hits") != 1 {
				t.Errorf("receipt is %s", text)
			}
			for _, word := range []string{"clinic", "fr\"", "visit:", "previous"} {
				if strings.Contains(text, word) {
					t.Errorf("receipt tells %s: %s", word, text)
				}
			}
		}
	}
}

// TestReceiptIsNotForOtherPages: in a visitor's browser a page of another site gets what it gets without asking.
func TestReceiptIsNotForOtherPages(t *testing.T) {
	const event = `{"n":"pageview","u":"https://example.com/","d":"example.com"}`
	c, hits := newCounting(t), 0
	for origin, may := range map[string]bool{
		"https://example.com": true, "https://www.example.com": true, "http://EXAMPLE.com:8080": true,
		"https://other.example": false, "https://evil.example.com": false, "https://example.com.evil.example": false,
		"https://notexample.com": false, "null": false, "": false, "https://": false, "example.com": false,
	} {
		resp, text := c.do("POST", receiptPath, event, "Origin: "+origin)
		allowed := resp.Header.Get("Access-Control-Allow-Origin")
		if may && (resp.StatusCode != 200 || allowed != origin || resp.Header.Get("Vary") != "Origin") {
			t.Errorf("origin %q: %d %s %v", origin, resp.StatusCode, text, resp.Header)
		}
		if !may && (resp.StatusCode != 202 || text != "ok") {
			t.Errorf("origin %q: %d %s", origin, resp.StatusCode, text)
		}
		hits++
		c.expect([4]int{1, 1, hits, hits})
	}
	if _, err := c.db.AddSite("other.example", "UTC"); err != nil {
		t.Fatal(err)
	}
	// One site of a list that is not the page's own is enough.
	if resp, _ := c.do("POST", receiptPath, `{"n":"pageview","u":"https://example.com/","d":"example.com,other.example"}`, "Origin: https://example.com"); resp.StatusCode != 202 {
		t.Errorf("receipt of two sites for one of them: %d", resp.StatusCode)
	}
	r := c.receipt(`{"n":"pageview","u":"https://example.com/","d":"example.com,other.example,unknown.example"}`)
	if len(r.Also) != 2 || !r.Also[0].Counted || r.Also[1].Reason != "unknown_site" || r.Also[1].Counted {
		t.Errorf("receipt is %+v", r)
	}
	// Whether a page was seen shows in whether an engagement counts.
	for _, page := range []string{"/", "/unseen"} {
		c.hit(`{"n":"engagement","u":"https://example.com` + page + `","d":"example.com","e":10}`)
		if resp, text := c.do("POST", receiptPath, `{"n":"engagement","u":"https://example.com`+page+`","d":"example.com","e":10}`); resp.StatusCode != 202 || text != "ok" {
			t.Errorf("engagement with %s: %d %s", page, resp.StatusCode, text)
		}
	}
}

func TestReceiptSaysWhyNothingWasCounted(t *testing.T) {
	const event = `{"n":"pageview","u":"https://example.com/","d":"example.com"}`
	c := newCounting(t)
	for reason, header := range map[string][]string{
		"bot": {"User-Agent: Googlebot/2.1"}, "prefetch": {"Sec-Purpose: prefetch"}, DNT.String(): {"DNT: 1"},
	} {
		for _, origin := range []string{"", "Origin: https://example.com"} {
			if origin != "" {
				header = append(header, origin)
			}
			r := c.receipt(event, header...)
			if r.Counted || r.Reason != reason || len(r.Counters) != 0 || !strings.HasPrefix(r.Text, "Nothing was counted: ") {
				t.Errorf("%s: receipt is %+v", reason, r)
			}
			german := c.receipt(event, append(header, "Accept-Language: de-AT,en;q=0.5")...)
			if !strings.HasPrefix(german.Text, "Es wurde nichts gezählt: ") {
				t.Errorf("%s: in German: %s", reason, german.Text)
			}
		}
	}
	if r := c.receipt(strings.ReplaceAll(event, "example.com", "unknown.example")); r.Reason != "unknown_site" || r.Counted {
		t.Errorf("receipt is %+v", r)
	}
	if resp, _ := c.do("POST", receiptPath, `{`); resp.StatusCode != 400 {
		t.Errorf("malformed: %d", resp.StatusCode)
	}
	for _, query := range []string{"?receipt=0", "?receipt", "?Receipt=1", "?x=receipt=1"} {
		if resp, text := c.do("POST", "/api/event"+query, event); resp.StatusCode != 202 || text != "ok" {
			t.Errorf("%s: %d %s", query, resp.StatusCode, text)
		}
	}
	if r := c.receipt(event, "X-Forwarded-For: 192.0.2.50", "Accept-Language: de"); !strings.HasPrefix(r.Text, "Gezählt für example.com.") {
		t.Errorf("in German: %s", r.Text)
	}
	for _, reason := range Reasons()[1:] {
		if text := receiptText(reason, false, "", false); strings.Contains(text, "it was refused") {
			t.Errorf("%s has no sentence", reason)
		}
	}
}
