package dashboard

import (
	"strings"
	"testing"

	"dachs/storage"
)

// TestDaysCountedInPartsAreMarked notes a restart on one day of a week.
func TestDaysCountedInPartsAreMarked(t *testing.T) {
	b := newBoard(t, Options{Open: true})
	site := b.site("shop.example", seedShop(b.today()-9, b.today(), 5)...)
	const mark, inParts = `class="parts"`, "(counted in parts)"
	if page := b.page("/sites/shop.example?period=7d"); strings.Contains(page, mark) || strings.Contains(page, "restarted") {
		t.Error("nothing was restarted, and yet there is a mark")
	}
	if err := b.db.Append(storage.NoteRow(site.ID, b.today()-2, 9, storage.KindParts, "restart", 3)); err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string][3]int{ // marks, words in the chart and its table, notes
		"/sites/shop.example?period=7d":  {1, 2, 1},
		"/sites/shop.example?period=30d": {1, 2, 1},
		"/sites/shop.example?period=day": {0, 0, 0},
		"/sites/shop.example?period=custom&from=" + (b.today() - 2).String() + "&to=" + (b.today() - 2).String(): {0, 0, 1},
		"/sites/shop.example?period=7d&f=is,visit:country,DE":                                                    {1, 2, 1},
		"/sites/shop.example?period=7d&panel=pages":                                                              {0, 0, 0},
	} {
		page := b.page(target)
		got := [3]int{strings.Count(page, mark), strings.Count(page, inParts), strings.Count(page, "the server was restarted") + strings.Count(page, "The server was restarted")}
		if got != want {
			t.Errorf("%s: %v marks, words and notes, want %v", target, got, want)
		}
	}
}
