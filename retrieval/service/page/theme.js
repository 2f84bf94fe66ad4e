// Runs before the first paint, so that the page never flashes in the other colours.
const choice = localStorage.getItem("theme");
if (choice) document.documentElement.dataset.theme = choice;
