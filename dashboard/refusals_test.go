package dashboard

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"dachs/storage"
)

// shownRefusals reads what a page says was not counted.
func shownRefusals(page string) (rows []string) {
	_, part, _ := strings.Cut(page, ` id="refusals"`)
	part, _, _ = strings.Cut(part, "</section>")
	for _, m := range regexp.MustCompile(`<span>([^<]*)</span></th><td class="n">([^<]*)</td>`).FindAllStringSubmatch(part, -1) {
		rows = append(rows, m[1]+" "+m[2])
	}
	return rows
}

func TestRefusalsAreShown(t *testing.T) {
	b := newBoard(t, Options{Open: true})
	site := b.site("shop.example", seedShop(b.today()-3, b.today(), 5)...)
	other := b.site("empty.example")
	note := func(site storage.Site, day storage.Day, reason string, n int64) {
		t.Helper()
		if err := b.db.Append(storage.NoteRow(site.ID, day, 9, storage.KindRefused, reason, n)); err != nil {
			t.Fatal(err)
		}
	}
	note(site, b.today()-1, "bot", 1200)
	note(site, b.today(), "bot", 34)
	note(site, b.today(), "gpc", 7)
	note(site, b.today(), "a<b", 7)
	note(other, b.today(), "host", 2)
	for target, want := range map[string][]string{
		"/sites/shop.example?period=7d":                       {"Bots and other programs 1,234", "Visitors who send Global Privacy Control 7", "a&lt;b 7"},
		"/sites/shop.example?period=day":                      {"Bots and other programs 34", "Visitors who send Global Privacy Control 7", "a&lt;b 7"},
		"/sites/shop.example?period=7d&panel=pages":           nil,
		"/sites/shop.example?period=7d&f=is,visit:country,DE": nil,
		"/sites/empty.example":                                {"Hosts that are not allowed 2"},
	} {
		page := b.page(target)
		got := shownRefusals(page)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s shows %q, want %q", target, got, want)
		}
	}
	if strings.Contains(b.page("/sites/shop.example?period=7d"), `id="replaced"`) {
		t.Error("nothing was replaced, and yet it is shown")
	}
	if err := b.db.Append(storage.NoteRow(site.ID, b.today(), 9, storage.KindReplaced, "email", 3)); err != nil {
		t.Fatal(err)
	}
	if _, part, _ := strings.Cut(b.page("/sites/shop.example?period=7d"), `id="replaced"`); !strings.Contains(part, `<span>E-mail addresses</span></th><td class="n">3</td>`) {
		t.Error("replacements are not shown")
	}
	if rows := shownRefusals(b.page("/sites/shop.example?period=7d")); len(rows) != 3 || !strings.HasPrefix(rows[0], "Bots") {
		t.Errorf("rows are %q, want the most first", rows)
	}
}
