/** The project's root, from which the parts are started. */
export const projectRoot: string = new URL("../../..", import.meta.url).pathname.replace(/\/$/, "");
