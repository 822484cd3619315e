package tracker

// maxWidth is the widest viewport that is believed, in CSS pixels: several screens side by side.
const maxWidth = 20_000

// screenClass names the class of a viewport by its width in CSS pixels, "" if that is not known. The bounds are those at which
// pages change their layout, rounded to what most of them use: phones, phones on their side and small tablets, tablets, laptops,
// large screens. There are so few that they say nothing of a person: exact sizes would.
func screenClass(width int) string {
	switch {
	case width <= 0 || width > maxWidth:
		return ""
	case width < 480:
		return "xs"
	case width < 768:
		return "sm"
	case width < 1024:
		return "md"
	case width < 1440:
		return "lg"
	}
	return "xl"
}
